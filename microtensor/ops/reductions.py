"""Sums, means and maxima over axes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from microtensor.ops.arithmetic import chosen
from microtensor.ops.common import as_array, doctests, equal, settled_axes
from microtensor.ops.indexing import flip, getitem, pad
from microtensor.ops.shape import astype, permute_dims, reshape
from microtensor.primitive import Primitive, primitive
from microtensor.support.arrays import Array, accumulator, plain_array
from microtensor.support.axes import axis_count, filled_count, one_axis

Axes: TypeAlias = tuple[int, ...] | None


def _kept(g: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """The cotangent of a reduction with the reduced axes put back as size 1, ready to broadcast to x."""
    return g if keepdims or axis == () else reshape(g, shape=_kept_shape(x.shape, axis))


@lru_cache
def _kept_shape(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))


def _reduce(ufunc: Any, x: Array, axes: Axes, keepdims: bool) -> Any:
    wide = accumulator(x.dtype)
    total = ufunc.reduce(x, axis=axes, keepdims=keepdims, dtype=wide)
    return total if wide is None else total.astype(x.dtype)


def _sum(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    return _reduce(np.add, plain_array(x), axis, keepdims)


sum = primitive(
    "sum",
    _sum,
    lambda g, y, x, axis=None, keepdims=False: _kept(g, x, axis, keepdims),
    shown=("g",),
    settle=settled_axes("sum"),
    doc="""Sum over axes: y = Σ xᵢ.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1. The
    sum of nothing is 0, and float16 is summed in float32. Raises AxisError for an axis out of range and TypeError
    for one that is no integer.

    >>> import microtensor as mt
    >>> mt.sum(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """,
)


def _mean(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    x = plain_array(x)
    count = filled_count(x.shape, axis, "mean", "a mean")
    # Sums of integers end as well, so they are taken in float64, as NumPy does.
    wide: Any = accumulator(x.dtype) or (None if x.dtype.kind == "f" else np.dtype(np.float64))
    add: Any = np.add
    total = add.reduce(x, axis=axis, keepdims=keepdims, dtype=wide) / count
    return total.astype(np.float16) if x.dtype.char == "e" else total


def _mean_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    count = axis_count(x.shape, axis)
    if g.dtype != np.float16:
        return _kept(g, x, axis, keepdims) / count
    # The count may be no float16, which end at 65,504.
    return astype(astype(_kept(g, x, axis, keepdims), dtype=np.float32) / count, dtype=g.dtype)


mean = primitive(
    "mean",
    _mean,
    _mean_rule,
    shown=("g/N",),
    settle=settled_axes("mean"),
    doc="""Arithmetic mean over axes: y = (1/N) Σ xᵢ, N the number of elements taken together.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1.
    float16 is summed in float32, and the mean of integers is float64. Raises ValueError for a mean of nothing, where
    NumPy would give NaN, AxisError for an axis out of range and TypeError for one that is no integer.

    >>> import microtensor as mt
    >>> mt.mean(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([2., 3.])
    """,
)


def _extreme(ufunc: Any, name: str, what: str) -> Any:
    """The forward function of max or of min."""

    def forward(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
        x = plain_array(x)
        filled_count(x.shape, axis, name, f"the {what}")
        return ufunc.reduce(x, axis=axis, keepdims=keepdims)

    return forward


def _extreme_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    largest = _kept(as_array(y), x, axis, keepdims)
    hit = equal(x, largest)
    if (unknown := largest != largest).any():
        # NaN is not equal to itself; it is what was chosen all the same.
        hit = hit | (unknown & ~equal(x, x))
    ties = _sum(hit, axis=axis, keepdims=True)
    g = _kept(g, x, axis, keepdims)
    return chosen(g if (ties == 1).all() else g * (1 / ties).astype(x.dtype), hit)


max = primitive(
    "max",
    _extreme(np.maximum, "max", "largest"),
    _extreme_rule,
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


min = primitive(
    "min",
    _extreme(np.minimum, "min", "smallest"),
    _extreme_rule,
    shown=("g at the min",),
    settle=settled_axes("min"),
    doc="""Smallest element over axes; elements that tie share the gradient equally.

    `axis` is an integer, a tuple of them, or None for all; `keepdims` leaves reduced axes with size 1.
    Raises ValueError for the minimum of nothing, AxisError for an axis out of range.

    >>> import microtensor as mt
    >>> mt.min(mt.tensor([[1.0, 2.0], [3.0, 0.0]]), axis=0)
    tensor([1., 0.])
    """,
)


def _prod(x: Any, *, axis: Axes = None, keepdims: bool = False) -> Any:
    return _reduce(np.multiply, plain_array(x), axis, keepdims)


def _prod_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The product of all the others: y / x where y has all its digits, or else multiplied without x."""
    size = np.abs(as_array(y))
    exact = x.dtype != np.float16 and ((size >= np.finfo(x.dtype).tiny) & (size < np.inf)).all()
    if exact or x.size == 0:
        return _kept(g * y, x, axis, keepdims) / x
    axes = tuple(range(x.ndim)) if axis is None else axis
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    order = (*rest, *axes)
    sizes = tuple(x.shape[i] for i in rest)
    wide = accumulator(x.dtype) or x.dtype
    factors = astype(reshape(permute_dims(x, axes=order), shape=(*sizes, axis_count(x.shape, axes))), dtype=wide)
    others = _times_others(astype(reshape(g, shape=(*sizes, 1)), dtype=wide), factors)
    moved = reshape(astype(others, dtype=x.dtype), shape=tuple(x.shape[i] for i in order))
    return permute_dims(moved, axes=tuple(np.argsort(order).tolist()))


def _times_others(g: Any, factors: Any) -> Any:
    """G, of one column, times the product of all other factors of the row: no division, and linear in time.

    Up a tree of pairs go their products; down it each half of a pair takes the product of what is outside the pair,
    times the other half.
    """
    levels = []
    while factors.shape[-1] > 1:
        width = factors.shape[-1]
        if width % 2:
            factors = pad(factors, [(0, 0)] * (factors.ndim - 1) + [(0, 1)], value=1.0)
        pairs = reshape(factors, shape=(*factors.shape[:-1], factors.shape[-1] // 2, 2))
        levels.append((pairs, width))
        factors = getitem(pairs, index=(..., 0)) * getitem(pairs, index=(..., 1))
    for pairs, width in reversed(levels):
        down = reshape(g, shape=(*g.shape, 1)) * flip(pairs, axis=-1)
        g = reshape(down, shape=(*g.shape[:-1], 2 * g.shape[-1]))
        if g.shape[-1] > width:
            g = getitem(g, index=(..., slice(width)))
    return g


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
    x = plain_array(x)
    total = np.cumsum(x, axis=axis, dtype=accumulator(x.dtype))
    return total.astype(x.dtype) if x.dtype.kind == "f" else total


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

    Booleans and small integers are summed as NumPy's default integers, float16 in float32. Raises AxisError for
    an axis out of range.

    >>> import microtensor as mt
    >>> mt.cumsum(mt.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """,
)

__test__ = doctests(globals())
