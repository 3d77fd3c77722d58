"""erf: as accurate as promised in every dtype, at the ends of the range and of a block."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

import microtensor as mt
from microtensor.ops.error_function import BLOCK, KNOTS, PER_UNIT

PI = Decimal("3.14159265358979323846264338327950288419716939937510")
RANGES = (
    (5e-324, 1e-320), (1e-310, 1e-300), (1e-20, 1e-8), (1e-4, 0.004), (0.004, 0.012), (0.012, 0.1), (0.1, 1.0),
    (1.0, 3.0), (3.0, 6.0), (5.8, 6.2),
)  # fmt: skip


def exact(x):
    """erf of a float as a Decimal of 50 digits: (2/√π) exp(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!, where no term is negative."""
    with localcontext() as context:
        context.prec = 50
        x = term = total = Decimal(float(x))
        n = 0
        while term > total * Decimal("1e-48"):
            n += 1
            term = term * 2 * x * x / (2 * n + 1)
            total += term
        return 2 / PI.sqrt() * (-x * x).exp() * total


def units(found, x, dtype):
    """The error in units in the last place of the exact value."""
    value = exact(x)
    # The largest number below 1 has the unit of the values near 1.
    unit = np.spacing(min(dtype(float(value)), np.nextafter(dtype(1), dtype(0))))
    return abs(float((Decimal(float(found)) - value) / Decimal(float(unit))))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_float64_is_right_to_1_5_units_and_beyond_0_1_to_0_6(low, high, sign):
    x = np.random.default_rng(0).uniform(low, high, 150)
    found = mt.erf(sign * x)
    assert max(units(sign * y, v, np.float64) for y, v in zip(found, x, strict=True)) < (0.6 if low >= 0.1 else 1.5)


def test_float64_is_right_half_way_between_the_knots():
    x = (np.array(KNOTS[1:150]) + 0.5) / PER_UNIT
    for at in (x, np.nextafter(x, 0), np.nextafter(x, 1)):
        assert max(units(y, v, np.float64) for y, v in zip(mt.erf(at), at, strict=True)) < 1.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_floats_are_rounded_nearly_as_if_they_were_exact(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.concatenate([np.random.default_rng(0).uniform(0, high, 200) for high in (0.01, 0.1, 4.5)]).astype(dtype)
    x = np.append(x[x > 0], np.arange(1, 20) * tiny).astype(dtype)
    assert max(units(y, v, dtype) for y, v in zip(mt.erf(x), x, strict=True)) < 0.53
    assert mt.erf(x).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_ends_of_the_range(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 6.5, -6.5, np.finfo(dtype).max], dtype)
    with np.errstate(all="raise"):
        y = mt.erf(x)
    np.testing.assert_array_equal(y, np.array([0, 0, 1, -1, np.nan, 1, -1, 1], dtype))
    assert np.signbit(y[:2]).tolist() == [False, True]


def test_a_value_depends_neither_on_the_size_nor_on_the_order_in_memory():
    x = np.random.default_rng(0).normal(0, 2, (3, BLOCK // 2 + 5))
    y = mt.erf(x)
    assert y.shape == x.shape
    for i, j in ((0, 0), (1, BLOCK // 2 - 6), (2, BLOCK // 2 + 4)):
        assert y[i, j] == mt.erf(x[i, j]) == mt.erf(x[i : i + 1, j : j + 1]).item()
    np.testing.assert_array_equal(mt.erf(np.asfortranarray(x)), y)
    np.testing.assert_array_equal(mt.erf(x[:, ::-2]), y[:, ::-2])
    np.testing.assert_allclose(y, np.vectorize(math.erf)(x), rtol=1e-15)


def test_integers_give_float64_and_no_elements_none():
    np.testing.assert_allclose(mt.erf(np.array([-1, 0, 2])), [math.erf(-1), 0, math.erf(2)], rtol=1e-15)
    assert mt.erf(np.array([True])).dtype == np.float64
    assert mt.erf(np.zeros((0, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_rule_on_arrays_and_on_tensors_is_the_same_formula(shape, dtype):
    x = mt.tensor(np.random.default_rng(0).normal(size=shape).astype(dtype), requires_grad=True)
    ones = np.ones(shape, dtype)
    slope = mt.grad(mt.erf(x), x, ones)
    recorded = mt.grad(mt.erf(x), x, ones, create_graph=True)
    eps = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(slope.numpy(), recorded.numpy(), rtol=eps)
    np.testing.assert_allclose(slope.numpy(), 2 / math.sqrt(math.pi) * np.exp(-(x.numpy() ** 2)), rtol=eps)
    curvature = mt.grad(recorded, x, ones)
    np.testing.assert_allclose(curvature.numpy(), -2 * x.numpy() * slope.numpy(), rtol=eps)
