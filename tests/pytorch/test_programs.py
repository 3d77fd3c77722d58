"""Eight programs give the losses, the gradients and the parameters that they give with PyTorch."""

import numpy as np
import pytest

import microtensor.torch as torch
from tests.pytorch.programs import PROGRAMS, ran
from tests.pytorch.test_cases import GOLDEN, TOLERANCE


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_program(path, kind):
    golden = GOLDEN["programs"][kind][path.stem]
    ours = ran(path, torch, kind == "float64")
    assert ours["dtypes"] == golden["dtypes"] == [kind] * len(golden["dtypes"])
    tolerance = TOLERANCE[kind]
    np.testing.assert_allclose(ours["losses"], golden["losses"], rtol=tolerance, atol=tolerance)
    for part in ("gradients", "parameters"):
        for mine, theirs in zip(ours[part], golden[part], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())
