"""Sums, means and maxima over axes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from microtensor.ops.arithmetic import negative, where
from microtensor.ops.common import doctests, equal, settled_axes, shape_of
from microtensor.ops.indexing import flip
from microtensor.ops.shape import permute_dims, reshape
from microtensor.primitive import Primitive, primitive
from microtensor.support.arrays import Array
from microtensor.support.axes import Axis, axis_count, filled_count, normalize_axis, one_axis

Axes: TypeAlias = tuple[int, ...] | None
_add: Any = np.add.reduce


def _kept(g: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """The cotangent of a reduction with the reduced axes put back as size 1, ready to broadcast to x."""
    return g if keepdims or axis == () else reshape(g, shape=_kept_shape(x.shape, axis))


@lru_cache
def _kept_shape(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))


def _reduce(ufunc: Any, x: Array, axes: Axes, keepdims: bool, dtype: Any = None) -> Any:
    return ufunc.reduce(x, axis=axes, keepdims=keepdims, dtype=dtype)


def _sum(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    return _add(np.asarray(x), axis=axis, keepdims=keepdims)


sum = primitive(
    "sum",
    _sum,
    lambda g, y, x, axis=None, keepdims=False: _kept(g, x, axis, keepdims),
    shown=("g",),
    settle=settled_axes("sum"),
    doc="""Sum over axes: y = Σ xᵢ.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1. The
    sum of nothing is 0. Raises AxisError for an axis out of range and TypeError for one that is no integer.

    >>> import microtensor as mt
    >>> mt.sum(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """,
)


def _mean(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    count = filled_count(x.shape, axis, "mean", "a mean")
    if x.dtype == np.float16:
        # Sums of float16 overflow at 65,504, so they are taken in float32.
        return (_reduce(np.add, x, axis, keepdims, np.float32) / count).astype(x.dtype)
    return _reduce(np.add, x, axis, keepdims) / count


mean = primitive(
    "mean",
    _mean,
    lambda g, y, x, axis=None, keepdims=False: _kept(g, x, axis, keepdims) / axis_count(x.shape, axis),
    shown=("g/N",),
    settle=settled_axes("mean"),
    doc="""Arithmetic mean over axes: y = (1/N) Σ xᵢ, N the number of elements taken together.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1.
    float16 is summed in float32. Raises ValueError for a mean of nothing, where NumPy would give NaN,
    AxisError for an axis out of range and TypeError for one that is no integer.

    >>> import microtensor as mt
    >>> mt.mean(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([2., 3.])
    """,
)


def _max(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    x = np.asarray(x)
    filled_count(x.shape, axis, "max", "the largest")
    return _reduce(np.maximum, x, axis, keepdims)


def _max_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    hit = equal(x, _kept(y, x, axis, keepdims))
    share = hit / _sum(hit, axis=axis, keepdims=True)
    return _kept(g, x, axis, keepdims) * share.astype(x.dtype)


max = primitive(
    "max",
    _max,
    _max_rule,
    shown=("g at the max",),
    settle=settled_axes("max"),
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
    axes = normalize_axis(axis, len(shape_of(x)), "min")
    filled_count(shape_of(x), axes, "min", "the smallest")
    return negative(max(negative(x), axis=axes, keepdims=keepdims))


def _prod(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    return _reduce(np.multiply, np.asarray(x), axis, keepdims)


def _prod_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The product of all the others: y / x, or product by product where a zero forbids the division."""
    if not equal(x, 0).any():
        return _kept(g * y, x, axis, keepdims) / x
    axes = tuple(range(x.ndim)) if axis is None else axis
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
    settle=settled_axes("prod"),
    doc="""Product over axes; right, and differentiable to any order, where elements are zero too.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1. The
    product of nothing is 1. Raises AxisError for an axis out of range.

    >>> import microtensor as mt
    >>> x = mt.tensor([0.0, 2.0, 3.0], requires_grad=True)
    >>> mt.grad(mt.prod(x), x)
    tensor([6., 0., 0.])
    """,
)


def _cumsum(x: Any, *, axis: int | None = -1) -> Any:
    x = np.asarray(x)
    return np.cumsum(x, axis=axis, dtype=x.dtype)


def _cumsum_rule(g: Any, y: Any, x: Any, axis: int | None = -1) -> Any:
    after = flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)
    return reshape(after, shape=x.shape) if axis is None else after


def _settle_cumsum(params: dict[str, Any], arrays: list[Any]) -> None:
    axis = params.get("axis", -1)
    params["axis"] = None if axis is None else one_axis(axis, np.ndim(arrays[0]), "cumsum")


cumsum: Primitive = primitive(
    "cumsum",
    _cumsum,
    _cumsum_rule,
    shown=("Σ g from i on",),
    settle=_settle_cumsum,
    doc="""Running sum along an axis, or of the flattened tensor where `axis` is None: yᵢ = x₀ + … + xᵢ.

    Raises AxisError for an axis out of range.

    >>> import microtensor as mt
    >>> mt.cumsum(mt.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """,
)

__test__ = doctests(globals())
