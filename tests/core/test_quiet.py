"""NumPy's warnings: none comes out of a computation with NaN, ∞ or huge numbers, and NumPy is as loud as before."""

import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn, viz
from microtensor.support import arrays

EXTREMES = [1e308, -1e308, 1.5e154, 5e-324, np.nan, np.inf, -np.inf, 0.0]
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"]


def columns(value, dtype):
    """A batch of three channels: one of the value alone, one of it beside others, one without it."""
    with np.errstate(all="ignore"):
        array = np.array([[value, 1, 2], [value, value, 3], [value, value, 1]]).astype(dtype)
    return mt.tensor(array, requires_grad=True, name="x")


@pytest.fixture(params=["private", "public"])
def state(request, monkeypatch):
    """NumPy's error state by its private context variable, and by its public functions."""
    if request.param == "public":
        monkeypatch.setattr(arrays, "copy_context", dict)
        for name, value in zip(("get_errors", "set_errors", "IGNORED"), arrays.find_error_state(), strict=True):
            monkeypatch.setattr(arrays, name, value)
        assert arrays.get_errors is np.geterr


@pytest.mark.parametrize("loud", ["ignore", "warn", "raise"])
def test_quietly_restores_the_state_from_before(state, loud):
    def fail():
        np.divide(1.0, 0.0)
        raise LookupError

    with np.errstate(all=loud):
        before = np.geterr()
        assert np.isnan(arrays.quietly(np.divide, 0.0, 0.0))
        with pytest.raises(LookupError):
            arrays.quietly(fail)
        assert np.geterr() == before


def test_a_numpy_without_the_private_variable_is_quieted_by_public_functions():
    program = """
import contextvars, numpy as np, warnings
contextvars.copy_context = dict
import microtensor as mt
from microtensor.support import arrays
assert arrays.get_errors is np.geterr
warnings.simplefilter("error")
x = mt.tensor([0.0, 1.0], requires_grad=True)
before = np.geterr()
slope, = mt.grad([mt.log(x).sum()], [x], create_graph=True)
slope.sum().backward()
assert x.grad.numpy().tolist() == [-np.inf, -1.0], x.grad
assert np.geterr() == before
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_this_numpy_has_the_private_variable():
    """A new NumPy that renames it costs a fifth of the speed of small operations; this test says so."""
    assert arrays.find_error_state()[0] is not np.geterr


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", EXTREMES)
def test_no_function_warns_in_two_backward_passes(value, dtype):
    for name in ("max", "min", "prod", "softmax", "log_softmax", "logsumexp", "var", "std", "norm", "gelu", "cumsum"):
        x = columns(value, dtype)
        y = getattr(mt, name)(x)
        (slope,) = mt.grad([y.sum()], [x], create_graph=True)
        if slope.requires_grad:
            mt.grad(slope.sum(), x)


@pytest.mark.parametrize("loud", ["warn", "raise"])
@pytest.mark.parametrize(("dtype", "number"), [(np.float16, 1e6), (np.float16, -70000), (np.float32, 1e300)])
def test_a_number_beyond_the_dtype_of_the_tensor_is_infinite_in_silence(dtype, number, loud):
    x = mt.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    infinite = np.full(2, np.copysign(np.inf, number), dtype)
    with np.errstate(all=loud):
        extreme = mt.maximum(x, number) if number > 0 else mt.minimum(x, number)
        for y in (x * number, number * x, x + number, x - -number, extreme):
            np.testing.assert_array_equal(y.numpy(), infinite)
            assert y.dtype == dtype
        np.testing.assert_array_equal(mt.where([False, False], x, number).numpy(), infinite)
        np.testing.assert_array_equal(mt.clip(x, -abs(number), abs(number)).numpy(), x.numpy())
        assert not np.any([x == number, *((x > number, x >= number) if number > 0 else (x < number, x <= number))])
        assert np.all(x != number)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_target_that_is_an_array_is_read_in_silence(dtype):
    logp = mt.tensor([-1.0, -2.0], dtype=dtype, requires_grad=True)
    with np.errstate(all="raise"):
        loss = mt.losses.kl_div(logp, np.array([0.0, -1000.0], dtype), log_target=True, reduction="sum")
        np.testing.assert_array_equal(mt.grad(loss, logp).numpy(), [-1.0, 0.0])
    assert loss.item() == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("value", EXTREMES)
def test_no_picture_ledger_or_check_warns(value, dtype):
    x = columns(value, dtype)
    y = mt.norms.standardize(x, axis=0)
    str(mt.paths(y, x))
    graph = mt.Graph.from_tensor(y)
    for format in ("dot", "html", "json", "mermaid", "tree"):
        viz.render(graph, format, view="backward" if format != "tree" else "forward", values="full")
    # Statistics that are not finite are refused; the refusal is all that may come out.
    with suppress(ValueError):
        nn.utils.update_bn(nn.BatchNorm1d(3), [x.detach()])
    if np.isfinite(x.numpy()).all():
        mt.gradcheck(lambda z: z * z, [x.detach().astype(float).requires_grad_()], raise_exception=False)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("value", EXTREMES)
def test_no_optimizer_warns(value, name):
    p = nn.Parameter([value, 1.0])
    optimizer = getattr(mt.optim, name)([p], lr=0.1, weight_decay=0.1)
    for _ in range(2):
        p.grad = [value, value]
        optimizer.step()


@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3, np.inf])
@pytest.mark.parametrize("value", EXTREMES)
def test_clipping_gradients_does_not_warn(value, norm_type):
    p = nn.Parameter([1.0, 1.0])
    p.grad = [value, value]
    total = nn.utils.clip_grad_norm_([p], 1.0, norm_type)
    assert total == pytest.approx(2 ** (1 / norm_type) * abs(value), rel=1e-15, abs=1e-323, nan_ok=True)


def test_powers_that_overflow_or_vanish_do_not_spoil_a_clipped_gradient():
    p = nn.Parameter([1.0, 1.0])
    p.grad = [3e200, 4e200]
    assert nn.utils.clip_grad_norm_([p], 1.0) == pytest.approx(5e200)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8])
    p.grad = [3e-200, 4e-200]
    assert nn.utils.clip_grad_norm_([p], 1.0) == pytest.approx(5e-200)
