"""The experiments say what they claim and where it is from; their losses can be drawn, their paths told."""

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
    "04_through_the_statistics": (("Ioffe", "Goodfellow"), ("x", "t", "layer1", "z1 − μ", "tanh", "cross_entropy")),
    "05_scale_invariance": (("van Laarhoven", "Ba, Kiros"), ("x", "t", "W", "γ", "tanh", "cross_entropy")),
    "06_train_vs_eval": (("Ioffe", "Ba, Kiros"), ("x", "t", "W", "γ", "relu", "cross_entropy")),
    "07_depth": (("Yang", "Goodfellow"), ("x", "t", "W", "γ", "relu", "cross_entropy")),
    "08_whitening": (("LeCun", "Ioffe", "Huang"), ("A", "w", "y", "mean")),
    "09_lenet_bn": (("Ioffe", "Zhang"), ("x", "t", "bn1", "pool1", "bn4", "head", "cross_entropy")),
    "10_sequences": (("Ba, Kiros", "Xiong"), ("letters", "self_attn", "mask", "norm1", "norm2", "cross_entropy")),
}
# The experiments on theory give results in place of a list of what they do not show.
WITHOUT_LIMITS = {"05_scale_invariance", "06_train_vs_eval", "07_depth", "08_whitening"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_claim_and_its_source_come_first(name: str) -> None:
    story = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8")))
    assert story is not None
    claim, blank, *_ = story.splitlines()
    assert claim.endswith(".")
    assert not blank
    for text in (*EXPERIMENTS[name][0], f"python examples/{name}.py", f"viz examples/{name}.py", "-- --graph"):
        assert text in story
    assert name in WITHOUT_LIMITS or "Not shown" in story


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_loss_is_what_gets_drawn_with_its_gradients(name: str, tmp_path: Path, command: Callable[..., str]) -> None:
    command("viz", EXAMPLES / f"{name}.py", "-o", "loss.svg", "--view", "backward", "--", "--graph")
    assert [path.name for path in tmp_path.iterdir()] == ["loss.svg"], "--graph trains nothing and writes nothing"
    picture = (tmp_path / "loss.svg").read_text(encoding="utf-8")
    for node in EXPERIMENTS[name][1]:
        assert f">{node}<" in picture, node


def test_the_paths_through_the_statistics_are_told(command: Callable[..., str]) -> None:
    told = command("paths", EXAMPLES / "04_through_the_statistics.py", "--of", "z1", "--", "--graph")
    for name in ("layer1", "direct", "via the mean", "via the variance", "gradient of z1"):
        assert name in told
