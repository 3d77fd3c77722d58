"""Sums, means and maxima over axes."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from microtensor.core.ops import Axes, astype, kept, permute_dims, reshape
from microtensor.core.ops import sum as sum_
from microtensor.core.primitive import Primitive, as_array, primitive
from microtensor.ops.common import equal, one_axis, perhaps
from microtensor.ops.elementwise import chosen, counted
from microtensor.ops.indexing import flip, getitem, pad
from microtensor.support.arrays import accumulator, plain_array, plain_dtype, total
from microtensor.support.axes import Axis, axis_count, filled_count, settled_axes

__all__ = [
    "cumsum",
    "max",
    "min",
    "prod",
]


def _extreme(ufunc: Any, name: str, what: str) -> Any:
    """The forward function of max or of min."""

    def forward(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
        x = plain_array(x)
        filled_count(x.shape, axis, name, f"the {what}")
        return ufunc.reduce(x, axis=axis, keepdims=keepdims)

    return forward


def _extreme_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    largest = kept(y, x, axis, keepdims)
    hit = equal(x, largest)
    if perhaps(unknown := largest != largest):
        # NaN is not equal to itself, but it is what was chosen.
        hit = hit | (unknown & ~equal(x, x))
    # Counted as floats: the count of integers, and their quotient in float64, take twice the time.
    dtype = accumulator(x.dtype) or x.dtype
    ties = sum_(counted(hit, dtype), axis=axis, keepdims=True, dtype=dtype)
    g = kept(g, x, axis, keepdims)
    return chosen(g * (1 / ties).astype(x.dtype, copy=False) if perhaps(ties != 1) else g, hit)


max = primitive(
    "max",
    _extreme(np.maximum, "max", "largest"),
    _extreme_rule,
    rule_text=("g·[x = y]/count(x = y)",),
    settle=settled_axes("max"),
    doc="""Largest element over axes. Equal largest elements share the gradient equally.

    `axis` is an integer or a tuple of integers; default: all axes. `keepdims` keeps reduced axes with size 1.
    Raises ValueError for the maximum of no elements.

    >>> import microtensor as mt
    >>> mt.max(mt.tensor([[1.0, 2.0], [3.0, 0.0]]), axis=0)
    tensor([3., 2.])
    """,
)


min = primitive(
    "min",
    _extreme(np.minimum, "min", "smallest"),
    _extreme_rule,
    rule_text=("g·[x = y]/count(x = y)",),
    settle=settled_axes("min"),
    doc="""Smallest element over axes. Equal smallest elements share the gradient equally.

    `axis` is an integer or a tuple of integers; default: all axes. `keepdims` keeps reduced axes with size 1.
    Raises ValueError for the minimum of no elements.

    >>> import microtensor as mt
    >>> mt.min(mt.tensor([[1.0, 2.0], [3.0, 0.0]]), axis=0)
    tensor([1., 0.])
    """,
)


def _prod(x: Any, axis: Axis = None, keepdims: bool = False, *, dtype: DTypeLike | None = None) -> Any:
    return total(np.multiply, plain_array(x), axis, keepdims, dtype, "prod")


def _prod_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """g times the product of all other elements: y / x if y has all its digits, or else a product without x."""
    size = np.abs(as_array(y))
    exact = x.dtype != np.float16 and ((size >= np.finfo(x.dtype).tiny) & (size < np.inf)).all()
    if exact or x.size == 0:
        return kept(g * y, x, axis, keepdims) / x
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
    """g times the product of all other factors of the row, in linear time and without division. g has one column.

    The way up a tree of pairs multiplies each pair. The way down gives each half of a pair the other half, times the
    product of everything outside the pair.
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


prod: Primitive[Any] = primitive(
    "prod",
    _prod,
    _prod_rule,
    rule_text=("g times the other factors",),
    settle=settled_axes("prod"),
    doc="""Product over axes: y = Π xᵢ. Derivatives of any order are right for elements that are 0, too.

    `axis` is an integer or a tuple of integers; default: all axes. `keepdims` keeps reduced axes with size 1. `dtype`
    is the dtype of the result. The product of no elements is 1.

    >>> import microtensor as mt
    >>> x = mt.tensor([0.0, 2.0, 3.0], requires_grad=True)
    >>> mt.grad(mt.prod(x), x)
    tensor([6., 0., 0.])
    """,
)


def _cumsum(x: Any, axis: SupportsIndex | None = -1, *, dtype: DTypeLike | None = None) -> Any:
    x = plain_array(x)
    result = x.dtype if dtype is None else plain_dtype(dtype, "cumsum")
    running = np.cumsum(x, axis=axis, dtype=accumulator(result) or dtype)
    return running.astype(result) if result.kind == "f" else running


def _cumsum_rule(g: Any, y: Any, x: Any, axis: int | None = -1, dtype: Any = None) -> Any:
    after = flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)
    return reshape(after, shape=x.shape) if axis is None else after


def _settle_cumsum(params: dict[str, Any], arrays: list[Any]) -> None:
    axis = params.get("axis", -1)
    params["axis"] = None if axis is None else one_axis(axis, np.ndim(arrays[0]), "cumsum")


cumsum: Primitive[Any] = primitive(
    "cumsum",
    _cumsum,
    _cumsum_rule,
    rule_text=("g summed from here to the end",),
    settle=_settle_cumsum,
    doc="""Running sum along an axis: yᵢ = x₀ + … + xᵢ. None sums the flattened tensor.

    Booleans and small integers are summed as NumPy's default integers. float16 is summed in float32.

    >>> import microtensor as mt
    >>> mt.cumsum(mt.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """,
)
