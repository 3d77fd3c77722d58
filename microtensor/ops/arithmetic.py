"""Sums, products, powers, exponentials and roots, elementwise, and the choice between two tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtensor.ops.common import as_array, doctests, equal, greater
from microtensor.ops.shape import contract_to, sum_to
from microtensor.primitive import Primitive, Traced, primitive
from microtensor.support.arrays import Array, plain_array


def _summed_to(g: Any, x: Any) -> Any:
    """G summed to the shape of x where x was broadcast: before more work is done on it, not after."""
    return g if g.shape == x.shape else sum_to(g, shape=x.shape)


def product_to(g: Any, factor: Any, x: Any) -> Any:
    """G · factor summed to the shape of x, in one pass where x was broadcast."""
    return g * factor if g.shape == x.shape else contract_to(g, factor, shape=x.shape)


add = primitive(
    "add",
    np.add,
    lambda g, y, a, b: g,
    lambda g, y, a, b: g,
    symbol="+",
    shown=("g", "g"),
    doc="""Sum of two tensors, elementwise with broadcasting: y = a + b.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.add(mt.tensor([1.0, 2.0]), 3.0)
    tensor([4., 5.])
    """,
)

subtract = primitive(
    "subtract",
    np.subtract,
    lambda g, y, a, b: g,
    lambda g, y, a, b: -_summed_to(g, b),
    symbol="−",
    shown=("g", "-g"),
    doc="""Difference of two tensors, elementwise with broadcasting: y = a − b.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.subtract(mt.tensor([1.0, 2.0]), 3.0)
    tensor([-2., -1.])
    """,
)

multiply = primitive(
    "multiply",
    np.multiply,
    lambda g, y, a, b: product_to(g, b, a),
    lambda g, y, a, b: product_to(g, a, b),
    symbol="×",
    shown=("g*b", "g*a"),
    doc="""Product of two tensors, elementwise with broadcasting: y = a · b.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.multiply(mt.tensor([1.0, 2.0]), 3.0)
    tensor([3., 6.])
    """,
)

divide = primitive(
    "divide",
    np.divide,
    lambda g, y, a, b: g / b,
    # b is constant along the axes that it is broadcast over, so the sum over these comes before the division.
    lambda g, y, a, b: -(product_to(g, y, b) / b),
    symbol="÷",
    shown=("g/b", "-g*y/b"),
    doc="""Quotient of two tensors, elementwise with broadcasting: y = a / b.

    Division by zero gives ±∞ or NaN, without a warning. Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.divide(mt.tensor([1.0, 2.0]), 4.0)
    tensor([0.25, 0.5 ])
    """,
)

negative = primitive(
    "negative",
    np.negative,
    lambda g, y, x: -g,
    symbol="−( )",
    shown=("-g",),
    doc="""Numerical negative, elementwise: y = −x.

    >>> import microtensor as mt
    >>> mt.negative(mt.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """,
)


# Integers as wide as each dtype of floats.
_BITS = {"e": np.dtype(np.int16), "f": np.dtype(np.int32), "d": np.dtype(np.int64)}


def _masked(x: Any, mask: Any) -> Any:
    return chosen(plain_array(x), plain_array(mask).astype(bool, copy=False))


def chosen(g: Any, mask: Array) -> Any:
    """The cotangent where a boolean mask is true and 0 elsewhere: `masked` for rules."""
    if isinstance(g, Traced):
        over_tensors: Any = masked
        return over_tensors(g, mask)
    bits = _BITS.get(g.dtype.char)
    if bits is None:
        # False is the zero of every dtype.
        return np.where(mask, g, False)
    # The bits of g as an integer, times 0 or 1: as fast as a product of floats, and where takes four to ten times that.
    return (g.view(bits) * mask).view(g.dtype)


masked: Primitive = primitive(
    "masked",
    _masked,
    lambda g, y, x, mask: chosen(g, np.asarray(as_array(mask), bool)),
    None,
    symbol="[ ]",
    shown=("g where true", ""),
    doc="""X where `mask` is true, 0 elsewhere; both broadcast. Chosen, not multiplied: ∞ · 0 would be NaN.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.ops.masked(mt.tensor([1.0, float("inf")]), [True, False])
    tensor([1., 0.])
    """,
)

where: Primitive = primitive(
    "where",
    np.where,
    None,
    lambda g, y, condition, a, b: chosen(g, np.asarray(as_array(condition), bool)),
    lambda g, y, condition, a, b: chosen(g, ~np.asarray(as_array(condition), bool)),
    shown=("", "g where true", "g where false"),
    doc="""Choose elementwise: a where `condition` is true, b elsewhere; all three broadcast.

    The gradient of the branch not taken is 0, but a NaN *inside* that branch's own derivative survives
    (0 · NaN = NaN): give a function a safe argument before it, not only after.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.where([True, False], mt.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """,
)


def _base_rule(g: Any, y: Any, a: Any, b: Any) -> Any:
    # At a = 0 and b = 0 the slope b · aᵇ⁻¹ is 0 · ∞; a⁰ is constant, so it is 0 there, as any power of a gives.
    return g * b * power(a, where(equal(a, 0) & equal(b, 0), 1.0, b - 1))


def _exponent_rule(g: Any, y: Any, a: Any, b: Any) -> Any:
    # 0 ** b does not change with b where it is finite, so the derivative there is 0, not 0 · log 0 = NaN.
    settled = equal(a, 0) & ~greater(0, b)
    return chosen(g, ~settled) * y * log(where(settled, 1.0, a))


power: Primitive = primitive(
    "power",
    np.power,
    _base_rule,
    _exponent_rule,
    symbol="xʸ",
    shown=("g*b*a^(b-1)", "g*y*log a"),
    doc="""Power, elementwise with broadcasting: y = aᵇ.

    As in NumPy, 0⁰ = 1 and a negative base with a fractional exponent gives NaN. The derivative by the
    exponent at base 0 is 0 for exponents from 0 on, as in PyTorch. Second derivatives by both arguments at base 0 are
    not to be relied on for exponents up to 1, where the true limit is infinite.
    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.power(mt.tensor([1.0, 2.0]), 3)
    tensor([1., 8.])
    """,
)


def _twice(product: Any) -> Any:
    """2 · product; of an array in place, because the product is one of our own and variances are of large arrays."""
    return np.multiply(product, 2, product) if type(product) is np.ndarray else product * 2


square = primitive(
    "square",
    np.square,
    lambda g, y, x: _twice(g * x),
    symbol="( )²",
    shown=("2x*g",),
    doc="""Square, elementwise: y = x².

    >>> import microtensor as mt
    >>> mt.square(mt.tensor([1.0, -2.0]))
    tensor([1., 4.])
    """,
)

sqrt = primitive(
    "sqrt",
    np.sqrt,
    lambda g, y, x: g / (2 * y),
    symbol="√",
    shown=("g/(2y)",),
    doc="""Square root, elementwise: y = √x.

    The derivative 1 / (2√x) is ∞ at 0, which is why a norm takes √(var + ε); a negative number gives NaN.

    >>> import microtensor as mt
    >>> mt.sqrt(mt.tensor([1.0, 4.0]))
    tensor([1., 2.])
    """,
)

exp = primitive(
    "exp",
    np.exp,
    lambda g, y, x: g * y,
    shown=("g*y",),
    doc="""Exponential, elementwise: y = eˣ.

    >>> import microtensor as mt
    >>> mt.exp(mt.tensor([0.0, 1.0]))
    tensor([1.        , 2.71828183])
    """,
)

log = primitive(
    "log",
    np.log,
    lambda g, y, x: g / x,
    shown=("g/x",),
    doc="""Natural logarithm, elementwise: y = ln x; −∞ at 0, NaN below.

    >>> import microtensor as mt
    >>> mt.log(mt.tensor([1.0, 2.0]))
    tensor([0.        , 0.69314718])
    """,
)

__test__ = doctests(globals())
