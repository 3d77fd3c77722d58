"""Sums, means and maxima over axes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from microtensor.ops.arithmetic import negative, where
from microtensor.ops.common import doctests, equal
from microtensor.ops.indexing import flip
from microtensor.ops.shape import permute_dims, reshape
from microtensor.primitive import Primitive, primitive
from microtensor.support.arrays import Array
from microtensor.support.axes import Axis, axis_count, normalize_axis


def _kept(g: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """The cotangent of a reduction with the reduced axes put back as size 1, ready to broadcast to x."""
    return g if keepdims or axis == () else reshape(g, shape=_kept_shape(x.shape, axis))


@lru_cache
def _kept_shape(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    axes = normalize_axis(axis, len(shape), "reduction")
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _reduce(ufunc: Any, x: Array, axes: tuple[int, ...], keepdims: bool, dtype: Any = None) -> Any:
    return ufunc.reduce(x, axis=axes, keepdims=keepdims, dtype=dtype)


def _sum(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    return _reduce(np.add, x, normalize_axis(axis, x.ndim, "sum"), keepdims)


sum = primitive(
    "sum",
    _sum,
    lambda g, y, x, axis=None, keepdims=False: _kept(g, x, axis, keepdims),
    shown=("g",),
    doc="""Sum over axes: y = Σ xᵢ.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1. The
    sum of nothing is 0. Raises AxisError for an axis out of range and TypeError for one that is no integer.

    >>> import microtensor as mt
    >>> mt.sum(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """,
)


def _mean(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    axes = normalize_axis(axis, x.ndim, "mean")
    count = 1
    for i in axes:
        count *= x.shape[i]
    if count == 0:
        raise ValueError(f"mean: shape {x.shape} has no elements along axis {axes}; a mean of nothing is undefined")
    if x.dtype == np.float16:
        # Sums of float16 overflow at 65,504, so they are taken in float32.
        return (_reduce(np.add, x, axes, keepdims, np.float32) / count).astype(x.dtype)
    return _reduce(np.add, x, axes, keepdims) / count


mean = primitive(
    "mean",
    _mean,
    lambda g, y, x, axis=None, keepdims=False: _kept(g, x, axis, keepdims) / axis_count(x.shape, axis),
    shown=("g/N",),
    doc="""Arithmetic mean over axes: y = (1/N) Σ xᵢ, N the number of elements taken together.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1.
    float16 is summed in float32. Raises ValueError for a mean of nothing, where NumPy would give NaN,
    AxisError for an axis out of range and TypeError for one that is no integer.

    >>> import microtensor as mt
    >>> mt.mean(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([2., 3.])
    """,
)


def _max(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    axes = normalize_axis(axis, x.ndim, "max")
    if math.prod(x.shape[i] for i in axes) == 0:
        raise ValueError(f"max: shape {x.shape} has no elements along axis {axes}; the largest of nothing is undefined")
    return _reduce(np.maximum, x, axes, keepdims)


def _max_rule(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    hit = equal(x, _kept(y, x, axis, keepdims))
    share = hit / _sum(hit, axis=axis, keepdims=True)
    return _kept(g, x, axis, keepdims) * share.astype(x.dtype)


max = primitive(
    "max",
    _max,
    _max_rule,
    shown=("g at the max",),
    doc="""Largest element over axes; elements that tie share the gradient equally.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1.
    Raises ValueError for the maximum of nothing, AxisError for an axis out of range.

    >>> import microtensor as mt
    >>> mt.max(mt.tensor([[1.0, 2.0], [3.0, 0.0]]), axis=0)
    tensor([3., 2.])
    """,
)


def min(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Smallest element over axes: −max(−x); elements that tie share the gradient equally.

    Parameters
    ----------
    x : Tensor
        Any shape.
    axis : int, tuple of int, optional
        The axes to reduce; all of them unless given.
    keepdims : bool
        Leave reduced axes with size 1.

    Raises
    ------
    ValueError
        There are no elements along the axes.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.min(mt.tensor([3.0, 1.0, 2.0])).item()
    1.0
    """
    return negative(max(negative(x), axis=axis, keepdims=keepdims))


def _prod(x: Any, *, axis: Axis = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    return _reduce(np.multiply, x, normalize_axis(axis, x.ndim, "prod"), keepdims)


def _prod_rule(g: Any, y: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product of all the others: y / x, or product by product where a zero forbids the division."""
    if not equal(x, 0).any():
        return _kept(g * y, x, axis, keepdims) / x
    axes = normalize_axis(axis, x.ndim, "prod")
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    count = axis_count(x.shape, axes)
    rows = reshape(permute_dims(x, axes=(*rest, *axes)), shape=(*(x.shape[i] for i in rest), 1, count))
    others = prod(where(np.eye(count, dtype=bool), 1.0, rows), axis=-1)
    moved = reshape(others, shape=tuple(x.shape[i] for i in (*rest, *axes)))
    back = permute_dims(moved, axes=tuple(np.argsort((*rest, *axes)).tolist()))
    return _kept(g, x, axis, keepdims) * back


prod: Primitive = primitive(
    "prod",
    _prod,
    _prod_rule,
    shown=("g*y/x",),
    doc="""Product over axes; right, and differentiable to any order, where elements are zero too.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1. The
    product of nothing is 1. Raises AxisError for an axis out of range.

    >>> import microtensor as mt
    >>> x = mt.tensor([0.0, 2.0, 3.0], requires_grad=True)
    >>> mt.grad(mt.prod(x), x)
    tensor([6., 0., 0.])
    """,
)


def _cumsum(x: Any, *, axis: int = -1) -> Any:
    x = np.asarray(x)
    return np.cumsum(x, axis=normalize_axis(axis, x.ndim, "cumsum")[0], dtype=x.dtype)


cumsum: Primitive = primitive(
    "cumsum",
    _cumsum,
    lambda g, y, x, axis=-1: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis),
    shown=("Σ g from i on",),
    doc="""Running sum along an axis: yᵢ = x₀ + … + xᵢ.

    Raises AxisError for an axis out of range.

    >>> import microtensor as mt
    >>> mt.cumsum(mt.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """,
)

__test__ = doctests(globals())
