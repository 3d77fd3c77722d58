"""Experiments 4, 9 and 10 say what they claim and where it is from; their losses can be drawn, their paths told."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.places import EXAMPLES

# What the first lines have to cite, and what has to be seen in the picture.
EXPERIMENTS = {
    "04_through_the_statistics": (("Ioffe", "Goodfellow"), ("x", "t", "layer1", "z1 − μ", "tanh", "cross_entropy")),
    "09_lenet_bn": (("Ioffe", "Zhang"), ("x", "t", "bn1", "pool1", "bn4", "head", "cross_entropy")),
    "10_sequences": (("Ba, Kiros", "Xiong"), ("letters", "self_attn", "mask", "norm1", "norm2", "cross_entropy")),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_claim_and_its_source_come_first(name: str) -> None:
    story = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8")))
    assert story is not None
    claim, blank, *_ = story.splitlines()
    assert claim.endswith(".")
    assert not blank
    for text in (*EXPERIMENTS[name][0], f"python examples/{name}.py", f"examples/{name}.py", "-- --graph", "Not shown"):
        assert text in story


@pytest.mark.parametrize("view", ["forward", "backward"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_loss_is_what_gets_drawn(name: str, view: str, tmp_path: Path, command: Callable[..., str]) -> None:
    command("viz", EXAMPLES / f"{name}.py", "-o", "loss.svg", "--view", view, "--", "--graph")
    assert [path.name for path in tmp_path.iterdir()] == ["loss.svg"], "--graph trains nothing and writes nothing"
    picture = (tmp_path / "loss.svg").read_text(encoding="utf-8")
    for node in EXPERIMENTS[name][1]:
        assert f">{node}<" in picture, node


def test_the_paths_through_the_statistics_are_told(command: Callable[..., str]) -> None:
    told = command("paths", EXAMPLES / "04_through_the_statistics.py", "--of", "z1", "--", "--graph")
    for name in ("layer1", "direct", "via the mean", "via the variance", "gradient of z1"):
        assert name in told
