"""Second: the primitives that normalizations are made of. Each is a NumPy function with one derivative rule per array.

A rule takes the cotangent ``g`` of the output, the output ``y`` and the inputs. It returns the cotangent of one input.
It ignores broadcasting, which the reverse walk undoes in one place. Rules run on arrays for a first derivative and on
tensors for a higher one. So they use what both have: operators, methods and primitives.

All primitives raise ValueError when shapes do not broadcast, ``numpy.exceptions.AxisError`` when an axis is out of
range, and TypeError when an axis or a size is not an integer. More primitives are in ``microtensor/ops/``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from microtensor.core.primitive import Binary, Unary, primitive
from microtensor.support import arrays, axes
from microtensor.support.arrays import Array, plain_array
from microtensor.support.axes import Axis, Shape

if TYPE_CHECKING:
    from microtensor.core.tensor import Tensor

Axes: TypeAlias = tuple[int, ...] | None

# --- shapes and dtypes ------------------------------------------------------------------------------------


def _reshape(x: Any, shape: Shape, *, copy: bool | None = None) -> Any:
    return arrays.with_memory(np.reshape(x, shape), x, copy, "reshape")


reshape = primitive(
    "reshape",
    _reshape,
    lambda g, y, x, shape, copy=None: g.reshape(x.shape),
    rule_text=("reshape(g)",),
    settle=axes.settled_reshape,
    doc="""Same elements in another shape, in row-major order.

    One size may be −1: it is computed from the others. Raises ValueError when the number of elements differs.

    >>> import microtensor as mt
    >>> mt.reshape(mt.tensor([1.0, 2.0, 3.0, 4.0]), (2, 2))
    tensor([[1., 2.],
            [3., 4.]])
    """,
)


def _permute_dims(x: Any, axes: Axis = None) -> Any:
    return np.transpose(x, axes)


def _permute_rule(g: Any, y: Any, x: Any, axes: Any = None) -> Any:
    # Sorting the axes by where they went undoes their order; the reversed order undoes itself.
    return permute_dims(g, axes=axes and tuple(sorted(range(len(axes)), key=axes.__getitem__)))


permute_dims = primitive(
    "permute_dims",
    _permute_dims,
    _permute_rule,
    symbol="permute",
    rule_text=("permute(g, axes)",),
    settle=axes.settled_permutation,
    doc="""Axes in another order: axis i of the result is axis ``axes[i]`` of x.

    Default: the reverse order, as in ``np.transpose``; the Array API has no default here.
    Raises ValueError unless `axes` names every axis once.

    >>> import microtensor as mt
    >>> mt.permute_dims(mt.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """,
)


def _broadcast_to(x: Any, shape: Shape) -> Any:
    return np.broadcast_to(x, shape)  # type: ignore[arg-type]


broadcast_to = primitive(
    "broadcast_to",
    _broadcast_to,
    lambda g, y, x, shape: g,
    symbol="broadcast",
    rule_text=("g",),
    settle=axes.settled_shape("broadcast_to"),
    doc="""Repeat x along axes of size 1 and along new leading axes, up to `shape`.

    Raises ValueError when the result would have more than 2³⁶ elements.

    >>> import microtensor as mt
    >>> mt.broadcast_to(mt.tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """,
)


sum_to = primitive(
    "sum_to",
    arrays.sum_to_shape,
    lambda g, y, x, shape: g.reshape((1,) * (x.ndim - len(shape)) + tuple(shape)),
    rule_text=("g",),
    doc="""Sum x to `shape`: the adjoint of broadcasting `shape` to the shape of x.

    >>> import microtensor as mt
    >>> mt.ops.sum_to(mt.ones((3, 2)), (1, 2))
    tensor([[3., 3.]])
    """,
)


def _astype(x: Any, dtype: DTypeLike, *, copy: bool = True, device: str | None = None) -> Array:
    arrays.check_device(device, "astype")
    arrays.check_copy(copy, "astype")
    return plain_array(x).astype(arrays.plain_dtype(dtype, "astype"), copy=copy)


astype = primitive(
    "astype",
    _astype,
    lambda g, y, x, dtype, **memory: g.astype(x.dtype),
    rule_text=("g",),
    doc="""Same values in another dtype. The gradient has the dtype of x; no gradient flows through integers.

    Raises TypeError for a dtype that is not boolean, integer or float of up to 64 bits.

    >>> import microtensor as mt
    >>> mt.astype(mt.tensor([1.5, 2.0]), "float32")
    tensor([1.5, 2. ], dtype=float32)
    """,
)

# --- sums, products, quotients ----------------------------------------------------------------------------


def _product_to(g: Any, factor: Any, x: Any) -> Any:
    """g · factor, summed to the shape of x where x was broadcast."""
    return g * factor if g.shape == x.shape else multiply_sum(g, factor, shape=x.shape)


add: Binary = primitive(
    "add",
    np.add,
    lambda g, y, a, b: g,
    lambda g, y, a, b: g,
    symbol="+",
    rule_text=("g", "g"),
    doc="""Sum of two tensors, elementwise with broadcasting: y = a + b.

    >>> import microtensor as mt
    >>> mt.add(mt.tensor([1.0, 2.0]), 3.0)
    tensor([4., 5.])
    """,
)

subtract: Binary = primitive(
    "subtract",
    np.subtract,
    lambda g, y, a, b: g,
    # Where b was broadcast, g is summed before it is negated: less work.
    lambda g, y, a, b: -(g if g.shape == b.shape else sum_to(g, shape=b.shape)),
    symbol="−",
    rule_text=("g", "−g"),
    doc="""Difference of two tensors, elementwise with broadcasting: y = a − b.

    >>> import microtensor as mt
    >>> mt.subtract(mt.tensor([1.0, 2.0]), 3.0)
    tensor([-2., -1.])
    """,
)

multiply: Binary = primitive(
    "multiply",
    np.multiply,
    lambda g, y, a, b: _product_to(g, b, a),
    lambda g, y, a, b: _product_to(g, a, b),
    symbol="×",
    rule_text=("g·b", "g·a"),
    doc="""Product of two tensors, elementwise with broadcasting: y = a · b.

    >>> import microtensor as mt
    >>> mt.multiply(mt.tensor([1.0, 2.0]), 3.0)
    tensor([3., 6.])
    """,
)

divide: Binary = primitive(
    "divide",
    np.divide,
    lambda g, y, a, b: g / b,
    # b is constant along the axes that it is broadcast over, so the sum over them comes before the division.
    lambda g, y, a, b: -(_product_to(g, y, b) / b),
    symbol="÷",
    rule_text=("g/b", "−g·y/b"),
    doc="""Quotient of two tensors, elementwise with broadcasting: y = a / b.

    Division by zero gives ±∞ or NaN, without a warning.

    >>> import microtensor as mt
    >>> mt.divide(mt.tensor([1.0, 2.0]), 4.0)
    tensor([0.25, 0.5 ])
    """,
)

negative: Unary = primitive(
    "negative",
    np.negative,
    lambda g, y, x: -g,
    symbol="−( )",
    rule_text=("−g",),
    doc="""Negative, elementwise: y = −x.

    >>> import microtensor as mt
    >>> mt.negative(mt.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """,
)

# --- functions of each element ----------------------------------------------------------------------------


square: Unary = primitive(
    "square",
    np.square,
    # The product is a new array, and 2 is exact: doubling it in place saves a pass over the inputs of variances.
    lambda g, y, x: np.multiply(p, 2, p) if type(p := g * x) is np.ndarray else p * 2,
    symbol="( )²",
    rule_text=("2x·g",),
    doc="""Square, elementwise: y = x².

    >>> import microtensor as mt
    >>> mt.square(mt.tensor([1.0, -2.0]))
    tensor([1., 4.])
    """,
)

sqrt: Unary = primitive(
    "sqrt",
    np.sqrt,
    lambda g, y, x: g / (2 * y),
    symbol="√",
    rule_text=("g/(2y)",),
    doc="""Square root, elementwise: y = √x.

    The derivative 1 / (2√x) is ∞ at 0, which is why a norm takes √(var + ε). A negative number gives NaN.

    >>> import microtensor as mt
    >>> mt.sqrt(mt.tensor([1.0, 4.0]))
    tensor([1., 2.])
    """,
)

exp: Unary = primitive(
    "exp",
    np.exp,
    lambda g, y, x: g * y,
    rule_text=("g·y",),
    doc="""Exponential, elementwise: y = eˣ.

    >>> import microtensor as mt
    >>> mt.exp(mt.tensor([0.0, 1.0]))
    tensor([1.        , 2.71828183])
    """,
)

log: Unary = primitive(
    "log",
    np.log,
    lambda g, y, x: g / x,
    rule_text=("g/x",),
    doc="""Natural logarithm, elementwise: y = ln x; −∞ at 0, NaN below 0.

    >>> import microtensor as mt
    >>> mt.log(mt.tensor([1.0, 2.0]))
    tensor([0.        , 0.69314718])
    """,
)

# --- reductions -------------------------------------------------------------------------------------------


def kept(g: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """The cotangent of a reduction, with the reduced axes put back with size 1, so that it broadcasts to x."""
    return g if keepdims or axis == () else g.reshape(_kept_shape(x.shape, axis))


@lru_cache
def _kept_shape(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    return tuple(1 if axis is None or i in axis else n for i, n in enumerate(shape))


def _sum(x: Any, axis: Axis = None, keepdims: bool = False, *, dtype: DTypeLike | None = None) -> Any:
    return arrays.total(np.add, plain_array(x), axis, keepdims, dtype, "sum")


sum = primitive(
    "sum",
    _sum,
    lambda g, y, x, axis=None, keepdims=False, dtype=None: kept(g, x, axis, keepdims),
    rule_text=("g",),
    settle=axes.settled_axes("sum"),
    doc="""Sum over axes: y = Σ xᵢ.

    `axis` is an integer or a tuple of integers; default: all axes. `keepdims` keeps reduced axes with size 1. `dtype`
    is the dtype of the result. The sum of no elements is 0. float16 is summed in float32.

    >>> import microtensor as mt
    >>> mt.sum(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """,
)


def _mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    x = plain_array(x)
    count = axes.filled_count(x.shape, axis, "mean", "a mean")
    # Sums of integers overflow too, so they are computed in float64, as in NumPy.
    wide: Any = arrays.accumulator(x.dtype) or (None if x.dtype.kind == "f" else np.dtype(np.float64))
    add_up: Any = arrays.add_up if x.size > 8 * arrays.MANY else np.add.reduce
    y = add_up(x, axis=axis, keepdims=keepdims, dtype=wide) / count
    return y.astype(np.float16) if x.dtype.char == "e" else y


def _mean_rule(g: Any, y: Any, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    count = axes.axis_count(x.shape, axis)
    if g.dtype.char != "e":
        return kept(g, x, axis, keepdims) / count
    # The count may be too large for float16, whose largest number is 65,504.
    return kept(g, x, axis, keepdims).astype(np.float32) / count


mean = primitive(
    "mean",
    _mean,
    _mean_rule,
    rule_text=("g/N",),
    settle=axes.settled_axes("mean"),
    doc="""Mean over axes: y = (1/N) Σ xᵢ, where N is the number of elements in each mean.

    `axis` is an integer or a tuple of integers; default: all axes. `keepdims` keeps reduced axes with size 1.
    float16 is summed in float32, and the mean of integers is float64. Raises ValueError for a mean of no elements;
    NumPy gives NaN.

    >>> import microtensor as mt
    >>> mt.mean(mt.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([2., 3.])
    """,
)

# --- the dtype to compute in ----------------------------------------------------------------------------


def widened(x: Tensor) -> Tensor:
    """x in the dtype to compute in: float32 for float16, float64 for integers. 256² overflows in float16."""
    if x.dtype.char == "e":
        return astype(x, dtype="float32")
    return x if x.dtype.kind == "f" else astype(x, dtype="float64")


def narrowed(result: Tensor, x: Tensor) -> Tensor:
    """The result in the dtype of x, if x is floating point."""
    return result if result.dtype == x.dtype or x.dtype.kind != "f" else astype(result, dtype=x.dtype)


# --- may be skipped: the same as sum_to(a * b), for speed ---------------------------------------------------


multiply_sum = primitive(
    "contract_to",
    arrays.sum_of_products,
    lambda g, y, a, b, shape: g * b,
    lambda g, y, a, b, shape: g * a,
    symbol="Σ( × )",
    rule_text=("g·b", "g·a"),
    doc="""Product of two tensors of one shape, summed to `shape`: ``sum_to(a * b, shape)`` without the array a * b.

    It gives the gradient of a broadcast factor in a product. In float32 the sum over leading axes has a
    relative error of about 1e-5.

    >>> import microtensor as mt
    >>> mt.ops.multiply_sum(mt.ones((3, 2)), mt.ones((3, 2)), (2,))
    tensor([3., 3.])
    """,
)
