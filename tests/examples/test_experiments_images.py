"""The experiments 1 to 3 say what they claim and where it is from, and their loss can be drawn."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.places import EXAMPLES

# What the first lines have to cite, and what has to be seen in the picture.
EXPERIMENTS = {
    "01_bn_figure1": (("Ioffe", "Santurkar"), ("x", "t", "fc1", "bn3", "sigmoid", "head", "cross_entropy")),
    "02_learning_rates": (("Bjorck", "Santurkar"), ("x", "t", "fc5", "bn5", "relu", "head", "cross_entropy")),
    "03_batch_size": (("Wu & He", "Ba, Kiros"), ("x", "t", "fc3", "bn3", "relu", "head", "cross_entropy")),
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
