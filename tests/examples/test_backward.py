"""Step one for the reader: the walk in examples/00_backward.py is the engine's."""

import runpy
import subprocess
import sys

import numpy as np
import pytest

import microtensor as mt
from tests.places import EXAMPLES

STEP_ONE = EXAMPLES / "00_backward.py"
gradients = runpy.run_path(str(STEP_ONE))["gradients"]


def test_it_prints_that_it_agrees_with_grad_and_draws_the_walk(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", STEP_ONE, "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert "largest difference from mt.grad: 0.0e+00" in done.stdout
    assert b"<svg" in (tmp_path / "00_backward.svg").read_bytes()


@pytest.mark.parametrize(
    "program",
    [
        lambda x, w: (x * w).sum(),
        lambda x, w: (x / (w * w + 1.0)).mean(),
        lambda x, w: mt.log(mt.exp(x) + w * w).sum(axis=0).mean(),
        lambda x, w: (mt.softmax(x) * w).sum(),
        lambda x, w: (mt.norms.layer_norm(x, 3, w, w) ** 2).sum(),
        lambda x, w: (x @ mt.reshape(w, (3, 1))).sum() + w.sum(),
        lambda x, w: x.sum() * 0.0 + (w - w.mean()).std(),
    ],
)
def test_the_walk_is_right_for_any_program(program):
    rng = np.random.default_rng(0)
    leaves = [mt.tensor(rng.normal(size=shape), requires_grad=True) for shape in ((4, 3), (3,))]
    loss = program(*leaves)
    found = gradients(loss)
    for leaf, expected in zip(leaves, mt.grad(loss, leaves), strict=True):
        np.testing.assert_allclose(found[leaf], expected.numpy(), rtol=1e-12, atol=1e-14)
