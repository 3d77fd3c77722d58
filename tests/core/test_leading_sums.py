"""Sums and means over the leading axes of many short rows: as accurate as NumPy's, and the same in all else."""

import math
import warnings

import numpy as np
import pytest

import microtensor as mt
from microtensor.support.arrays import MANY, add_up, sum_to_shape

SHAPES = [
    ((4000, 16), (0,)), ((MANY, 2), (0,)), ((MANY - 1, 2), (0,)), ((300, 128), (0,)), ((300, 129), (0,)),
    ((50, 40, 3), (0, 1)), ((50, 40, 3), (0,)), ((50, 40, 3), (1, 0)), ((50, 40, 3), (1,)), ((50, 40, 3), (2,)),
    ((50, 40, 3), None), ((50, 40, 3), ()), ((500, 1), (0,)), ((500,), (0,)), ((500, 0), (0,)), ((0, 3), (0,)),
]  # fmt: skip
DTYPES = [np.float16, np.float32, np.float64, np.int8, np.int64, np.bool_]


def draw(shape, dtype, seed=0):
    return np.random.default_rng(seed).uniform(-3, 3, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_value_shape_and_dtype_are_numpys(shape, axis, keepdims, dtype):
    x = draw(shape, dtype)
    expected = np.add.reduce(x, axis=axis, keepdims=keepdims)
    found = add_up(x, axis, keepdims, None)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if x.dtype.kind == "f":
        room = 4 * np.finfo(dtype).eps * np.abs(x).sum(axis=axis, keepdims=keepdims, dtype=float)
        assert np.all(np.abs(found.astype(float) - expected) <= room)
    else:
        np.testing.assert_array_equal(found, expected)
    for strided in (np.asfortranarray(x), x[::-1]):
        plain = np.add.reduce(strided, axis=axis, keepdims=keepdims)
        np.testing.assert_array_equal(add_up(strided, axis, keepdims, None), plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [2, 3, 16, 64])
def test_the_error_is_as_small_as_that_of_one_sum_after_another(columns, dtype):
    errors = []
    for seed in range(10):
        x = np.square(draw((5000, columns), dtype, seed))
        exact = [math.fsum(column) for column in x.T.tolist()]
        errors.append([add_up(x, (0,), False, None) - exact, np.add.reduce(x, axis=0) - exact])
    found, numpys = np.square(errors).mean(axis=(0, 2))
    assert found <= 2 * numpys


def test_nan_and_infinity_stay_in_their_columns():
    x = draw((1000, 7), np.float64)
    x[3, 1], x[5, 2], x[6, 3], x[7, 3] = np.nan, np.inf, np.inf, -np.inf
    x[:, 4] = 0.0
    with np.errstate(invalid="ignore"):
        found = add_up(x, (0,), False, None)
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, True, False, False, False])
    assert found[2] == np.inf
    assert found[4] == 0.0
    assert np.isfinite(found[[0, 4, 5, 6]]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(mt.sum(mt.tensor(x), axis=0).numpy(), found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_means_and_the_gradient_of_a_bias_take_this_way(dtype):
    x = draw((2000, 5), dtype)
    total = np.ones(2000, dtype) @ x
    np.testing.assert_array_equal(mt.sum(x, axis=0), total)
    np.testing.assert_array_equal(mt.mean(x, axis=0), total / dtype(2000))
    np.testing.assert_array_equal(sum_to_shape(x, (5,)), total)
    bias = mt.tensor(np.zeros(5, dtype), requires_grad=True)
    np.testing.assert_array_equal(mt.grad(mt.tensor(x) + bias, bias, x).numpy(), total)
