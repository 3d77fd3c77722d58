"""The tables of docs/coming-from.md: what stands in the second column runs, and what the third says is so."""

import re

import numpy as np
import pytest

import microtensor as mt
from tests.places import DOCS

ROWS = [
    line.strip("| \n").split(" | ")
    for line in (DOCS / "coming-from.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]
LINES = [re.fullmatch(r"`(.*)`", row[1])[1] for row in ROWS]


def names(tmp_path):
    rng = np.random.default_rng(0)
    w = mt.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    x, y = (mt.tensor(rng.normal(size=(2, 3)), requires_grad=i == 0) for i in range(2))
    made = {"x": x, "y": y, "w": w, "loss": loss, "a": np.ones((2, 3)), "i": mt.tensor([0, 1])}
    return {"mt": mt, "np": np, "path": tmp_path / "a b.npz", **made}


def test_every_row_has_a_line():
    assert len(LINES) == len(ROWS) > 45


@pytest.mark.parametrize("line", LINES)
def test_a_line_runs(line, tmp_path):
    exec(line, names(tmp_path))


def test_what_differs_is_so(tmp_path):
    space = names(tmp_path)
    x, w = space["x"], space["w"]
    assert mt.tensor([1.0]).dtype == np.float64
    assert x.var(axis=0).numpy() == pytest.approx(x.numpy().var(axis=0))
    assert not x.numpy().flags.writeable
    assert isinstance(mt.grad(space["loss"], w), mt.Tensor)
    y = space["y"]
    before, old = y, y.numpy().copy()
    y += 1
    assert y is not before
    assert (before.numpy() == old).all()
    w.grad = 0
    assert w.grad.numpy().tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="ambiguous"):
        bool(before)
    w.data -= 0.1 * mt.ones(2)
    with pytest.raises(RuntimeError):
        space["loss"].backward()
