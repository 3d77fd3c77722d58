"""Every call means what it means in PyTorch, in values, dtypes, shapes and gradients, or is refused."""

import gzip
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import microtensor.torch as torch
from tests.pytorch.cases import cases, outcome

GOLDEN = json.loads(gzip.decompress((Path(__file__).parents[1] / "golden/pytorch.json.gz").read_bytes()))
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
CASES = cases()
# What PyTorch does and this room refuses.
REFUSED = {
    "i.to(torch.uint8) + 300": "OverflowError",  # there the number wraps around
    'torch.div(x, 0.3, rounding_mode="trunc")': "TypeError",
    "expand is not written": "RuntimeError",  # there one element may be written, but not all of them
}


def check(ours, theirs, tolerance):
    """One result: the same kind, dtype and shape, and values as close as the dtype allows."""
    assert {k: v for k, v in ours.items() if k != "values"} == {k: v for k, v in theirs.items() if k != "values"}
    if "values" in theirs:
        a, b = (np.array(found["values"], dtype=float) for found in (ours, theirs))
        scale = max(1.0, np.nanmax(np.abs(b[np.isfinite(b)]), initial=0))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_case(name, kind):
    golden = GOLDEN[kind][name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = outcome(CASES[name], torch, kind == "float64")
    if "raises" in golden:
        assert "raises" in ours, f"PyTorch raises {golden['raises']}; here {ours}"
        return
    if name in REFUSED:
        assert ours["raises"].startswith(REFUSED[name])
        return
    assert "raises" not in ours, ours["raises"]
    for mine, their in zip(ours["out"], golden["out"], strict=True):
        check(mine, their, TOLERANCE[kind])
    if "backward" in golden:
        return
    assert ours.get("backward") is None
    assert ours.get("grad", {}).keys() == golden.get("grad", {}).keys()
    for leaf, gradient in golden.get("grad", {}).items():
        check(ours["grad"][leaf], gradient, TOLERANCE[kind])
