"""Elementwise functions: trigonometric, hyperbolic, activations, rounding, extrema."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microtensor.core.ops import exp, log, sqrt
from microtensor.core.primitive import Binary, TensorBase, Unary, as_array, new_tensor, primitive
from microtensor.ops import error_function
from microtensor.ops.common import as_mask, equal, perhaps, traced
from microtensor.support.arrays import Array, accumulator, plain_array

__all__ = [
    "arccos",
    "arcsin",
    "arctan",
    "arctan2",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "expm1",
    "floor",
    "log1p",
    "log2",
    "maximum",
    "minimum",
    "power",
    "relu",
    "round",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softplus",
    "tan",
    "tanh",
    "where",
]

# --- choices ----------------------------------------------------------------------------------------------

# Integers as wide as each dtype of floats.
_BITS = {"e": np.dtype(np.int16), "f": np.dtype(np.int32), "d": np.dtype(np.int64)}


def chosen(g: Any, mask: Any) -> Any:
    """g where the mask is true, 0 elsewhere."""
    mask = as_mask(as_array(mask))
    if isinstance(g, TensorBase):
        return masked(g, mask)  # type: ignore[call-overload]
    bits = _BITS.get(g.dtype.char)
    if bits is None:
        # False is the zero of every dtype.
        return np.where(mask, g, False)
    # The bits of g as an integer, times 0 or 1. It is as fast as a product of floats; np.where is 4 to 10 times slower.
    return (g.view(bits) * mask).view(g.dtype)


def counted(mask: Array, dtype: np.dtype[Any]) -> Any:
    """A condition, for a sum that counts where it holds. While a function is traced: a tensor of 1 and 0."""
    return where(new_tensor(mask), np.ones((), dtype), np.zeros((), dtype)) if traced() else mask


masked = primitive(
    "masked",
    lambda x, mask: chosen(plain_array(x), plain_array(mask)),
    lambda g, y, x, mask: chosen(g, mask),
    None,
    symbol="[ ]",
    rule_text=("g·[b ≠ 0]", ""),
    doc="""x where `mask` is true, 0 elsewhere; both broadcast. x is not multiplied by 0, because ∞ · 0 is NaN.

    >>> import microtensor as mt
    >>> mt.ops.masked(mt.tensor([1.0, float("inf")]), [True, False])
    tensor([1., 0.])
    """,
)


def _where(condition: Any, x1: Any, x2: Any, /) -> Any:
    return np.where(condition, x1, x2)


where = primitive(
    "where",
    _where,
    None,
    lambda g, y, condition, a, b: chosen(g, condition),
    lambda g, y, condition, a, b: chosen(g, ~as_mask(as_array(condition))),
    rule_text=("", "g·[a ≠ 0]", "g·[a = 0]"),
    doc="""Elementwise choice: a where `condition` is true, b elsewhere; all three broadcast.

    The value that is not chosen gets the gradient 0. But if a function with derivative ∞ or NaN made that value, 0 · ∞
    gives NaN. So replace the argument of that function too, as in ``where(x > 0, log(where(x > 0, x, 1.0)), 0.0)``.

    >>> import microtensor as mt
    >>> mt.where([True, False], mt.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """,
)


def _base_rule(g: Any, y: Any, a: Any, b: Any) -> Any:
    # At a = b = 0 the slope b · aᵇ⁻¹ is 0 · ∞. But a⁰ is constant, so the slope is 0; with exponent 1 it comes out so.
    constant = np.equal(as_array(a), 0) & np.equal(as_array(b), 0)
    return g * b * power(a, where(constant, 1.0, b - 1))


def _exponent_rule(g: Any, y: Any, a: Any, b: Any) -> Any:
    # 0 ** b does not change with b where it is finite, so the derivative there is 0, not 0 · log 0 = NaN.
    constant = np.equal(as_array(a), 0) & np.greater_equal(as_array(b), 0)
    return chosen(g, ~constant) * y * log(where(constant, 1.0, a))


power: Binary = primitive(
    "power",
    np.power,
    _base_rule,
    _exponent_rule,
    symbol="xʸ",
    rule_text=("b·a^(b − 1)·g", "g·y·log(a)"),
    doc="""Power, elementwise with broadcasting: y = aᵇ.

    As in NumPy, 0⁰ = 1, and a negative base with a fractional exponent gives NaN. At base 0 and an exponent ≥ 0, the
    derivative by the exponent is 0, as in PyTorch. At base 0 and an exponent ≤ 1, the mixed second derivative is
    infinite; the computed value is not reliable.

    >>> import microtensor as mt
    >>> mt.power(mt.tensor([1.0, 2.0]), 3)
    tensor([1., 8.])
    """,
)


relu = primitive(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda g, y, x: chosen(g, np.greater(as_array(y), 0)),
    rule_text=("g·[x > 0]",),
    doc="""Rectified linear unit, elementwise: y = max(x, 0). The derivative at 0 is 0. Integers stay integers.

    >>> import microtensor as mt
    >>> mt.relu(mt.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """,
)

# NumPy turns a Python number into an array at every call. That is a tenth of the time of a small tanh and its slope.
_ONE = {np.dtype(kind): np.ones((), kind) for kind in (np.float16, np.float32, np.float64)}

tanh: Unary = primitive(
    "tanh",
    np.tanh,
    # Not g − g·y², which is ∞ − ∞·0 for an infinite cotangent where y is 0.
    lambda g, y, x: g * ((_ONE[y.dtype] if type(y) is np.ndarray else 1) - y * y),
    rule_text=("g·(1 − y²)",),
    doc="""Hyperbolic tangent, elementwise: y = tanh x.

    >>> import microtensor as mt
    >>> mt.tanh(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.76159416])
    """,
)


def _sigmoid(x: Any) -> Array:
    x = plain_array(x)
    # Where e⁻ˣ overflows, its reciprocal is less than the smallest normal number, and 0 is right.
    with np.errstate(over="ignore"):
        y: Array = np.asarray(np.exp(np.multiply(x, -1.0, dtype=accumulator(x.dtype))))
        y += 1
        np.reciprocal(y, out=y)
    return y.astype(np.float16) if x.dtype.char == "e" else y


sigmoid = primitive(
    "sigmoid",
    _sigmoid,
    lambda g, y, x: g * (y * (1 - y)),
    rule_text=("g·y·(1 − y)",),
    doc="""Logistic sigmoid, elementwise: y = 1 / (1 + e⁻ˣ), without overflow.

    Integers give float64. float16 is computed in float32.

    >>> import microtensor as mt
    >>> mt.sigmoid(mt.tensor([0.0, 2.0]))
    tensor([0.5       , 0.88079708])
    """,
)

absolute: Unary = primitive(
    "abs",
    np.abs,
    lambda g, y, x: chosen(g, ~equal(x, 0)) * sign(x),
    symbol="|x|",
    rule_text=("g·sign(x)",),
    doc="""Absolute value, elementwise: y = |x|. The derivative at 0 is 0.

    >>> import microtensor as mt
    >>> mt.abs(mt.tensor([-1.0, 2.0]))
    tensor([1., 2.])
    """,
)

sign: Unary = primitive(
    "sign",
    np.sign,
    None,
    doc="""Sign, elementwise: −1, 0 or 1. It is constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> mt.sign(mt.tensor([-3.0, 2.0]))
    tensor([-1.,  1.])
    """,
)


def _share(g: Any, a: Any, y: Any, b: Any) -> Any:
    # Where both arguments are equal, each gets half of the gradient, as in PyTorch.
    taken = chosen(g, equal(a, y))
    tie = equal(a, b)
    return where(tie, taken * 0.5, taken) if perhaps(tie) else taken


maximum: Binary = primitive(
    "maximum",
    np.maximum,
    lambda g, y, a, b: _share(g, a, y, b),
    lambda g, y, a, b: _share(g, b, y, a),
    rule_text=("g·([a > b] + [a = b]/2)", "g·([b > a] + [a = b]/2)"),
    doc="""Larger of two tensors, elementwise with broadcasting: y = max(a, b).

    Where both are equal, each gets half of the gradient.

    >>> import microtensor as mt
    >>> mt.maximum(mt.tensor([1.0, 5.0]), 3.0)
    tensor([3., 5.])
    """,
)

minimum: Binary = primitive(
    "minimum",
    np.minimum,
    lambda g, y, a, b: _share(g, a, y, b),
    lambda g, y, a, b: _share(g, b, y, a),
    rule_text=("g·([a < b] + [a = b]/2)", "g·([b < a] + [a = b]/2)"),
    doc="""Smaller of two tensors, elementwise with broadcasting: y = min(a, b).

    Where both are equal, each gets half of the gradient.

    >>> import microtensor as mt
    >>> mt.minimum(mt.tensor([1.0, 5.0]), 3.0)
    tensor([1., 3.])
    """,
)

expm1: Unary = primitive(
    "expm1",
    np.expm1,
    lambda g, y, x: g * (y + 1),
    rule_text=("g·(y + 1)",),
    doc="""Exponential minus one, elementwise: y = eˣ − 1, accurate also near 0.

    >>> import microtensor as mt
    >>> mt.expm1(mt.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """,
)

log1p: Unary = primitive(
    "log1p",
    np.log1p,
    lambda g, y, x: g / (1 + x),
    rule_text=("g/(1 + x)",),
    doc="""Logarithm of one plus x, elementwise: y = ln(1 + x), accurate also near 0; NaN below −1.

    >>> import microtensor as mt
    >>> mt.log1p(mt.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """,
)

log2: Unary = primitive(
    "log2",
    np.log2,
    lambda g, y, x: g / (x * math.log(2)),
    rule_text=("g/(x·log(2))",),
    doc="""Logarithm to base 2, elementwise: y = log₂ x; −∞ at 0, NaN below 0.

    >>> import microtensor as mt
    >>> mt.log2(mt.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """,
)

sin: Unary = primitive(
    "sin",
    np.sin,
    lambda g, y, x: g * cos(x),
    rule_text=("g·cos(x)",),
    doc="""Sine, elementwise: y = sin x, x in radians.

    >>> import microtensor as mt
    >>> mt.sin(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.84147098])
    """,
)

cos: Unary = primitive(
    "cos",
    np.cos,
    lambda g, y, x: -(g * sin(x)),
    rule_text=("−g·sin(x)",),
    doc="""Cosine, elementwise: y = cos x, x in radians.

    >>> import microtensor as mt
    >>> mt.cos(mt.tensor([0.0, 1.0]))
    tensor([1.        , 0.54030231])
    """,
)

tan: Unary = primitive(
    "tan",
    np.tan,
    lambda g, y, x: g * (1 + y * y),
    rule_text=("g·(1 + y²)",),
    doc="""Tangent, elementwise: y = tan x, x in radians.

    >>> import microtensor as mt
    >>> mt.tan(mt.tensor([0.0, 1.0]))
    tensor([0.        , 1.55740772])
    """,
)

arcsin: Unary = primitive(
    "arcsin",
    np.arcsin,
    lambda g, y, x: g / sqrt(1 - x * x),
    rule_text=("g/√(1 − x²)",),
    doc="""Inverse sine, elementwise, in radians from −π/2 to π/2; NaN outside [−1, 1], derivative ∞ at ±1.

    >>> import microtensor as mt
    >>> mt.arcsin(mt.tensor([0.0, 1.0]))
    tensor([0.        , 1.57079633])
    """,
)

arccos: Unary = primitive(
    "arccos",
    np.arccos,
    lambda g, y, x: -(g / sqrt(1 - x * x)),
    rule_text=("−g/√(1 − x²)",),
    doc="""Inverse cosine, elementwise, in radians from 0 to π; NaN outside [−1, 1], derivative −∞ at ±1.

    >>> import microtensor as mt
    >>> mt.arccos(mt.tensor([1.0, 0.0]))
    tensor([0.        , 1.57079633])
    """,
)


def _turn(g: Any, a: Any, b: Any) -> Any:
    """g · a / (a² + b²), without overflow of a square: in float16 256² overflows, in float64 1e155²."""
    # Both are divided by the larger of the two, if that is not 0 or infinite. It cancels, so it is a constant.
    size = np.maximum(np.abs(as_array(a)), np.abs(as_array(b))).astype(g.dtype, copy=False)
    size = np.where((size > 0) & (size < np.inf), size, size.dtype.type(1))
    a, b = a / size, b / size
    return g * (a / (a * a + b * b)) / size


arctan: Unary = primitive(
    "arctan",
    np.arctan,
    lambda g, y, x: _turn(g, 1.0, x),
    rule_text=("g/(1 + x²)",),
    doc="""Inverse tangent, elementwise, in radians from −π/2 to π/2.

    >>> import microtensor as mt
    >>> mt.arctan(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.78539816])
    """,
)

arctan2: Binary = primitive(
    "arctan2",
    np.arctan2,
    lambda g, y, a, b: _turn(g, b, a),
    lambda g, y, a, b: -_turn(g, a, b),
    rule_text=("g·b/(a² + b²)", "−g·a/(a² + b²)"),
    doc="""Angle of the point (b, a), elementwise with broadcasting, in radians from −π to π.

    The derivative at the origin is NaN, as in JAX; PyTorch gives 0.

    >>> import microtensor as mt
    >>> mt.arctan2(mt.tensor([1.0, 0.0]), mt.tensor([0.0, -1.0]))
    tensor([1.57079633, 3.14159265])
    """,
)

sinh: Unary = primitive(
    "sinh",
    np.sinh,
    lambda g, y, x: g * cosh(x),
    rule_text=("g·cosh(x)",),
    doc="""Hyperbolic sine, elementwise: y = sinh x.

    >>> import microtensor as mt
    >>> mt.sinh(mt.tensor([0.0, 1.0]))
    tensor([0.        , 1.17520119])
    """,
)

cosh: Unary = primitive(
    "cosh",
    np.cosh,
    lambda g, y, x: g * sinh(x),
    rule_text=("g·sinh(x)",),
    doc="""Hyperbolic cosine, elementwise: y = cosh x.

    >>> import microtensor as mt
    >>> mt.cosh(mt.tensor([0.0, 1.0]))
    tensor([1.        , 1.54308063])
    """,
)


def _erf_rule(g: Any, y: Any, x: Any) -> Any:
    if type(g) is not np.ndarray:
        return g * (2 / math.sqrt(math.pi)) * exp(-(x * x))
    # The same in one array: on large arrays, a new one costs more than a product.
    d = np.empty_like(y)
    np.exp(np.negative(np.square(x, out=d), out=d), out=d)
    d *= 2 / math.sqrt(math.pi)
    return np.multiply(d, g, out=d)


erf = primitive(
    "erf",
    lambda x: error_function.erf(plain_array(x)),
    _erf_rule,
    rule_text=("g·2/√π·exp(−x²)",),
    doc="""Error function, elementwise: y = (2/√π) ∫₀ˣ exp(−t²) dt. Integers give float64.

    >>> import microtensor as mt
    >>> mt.erf(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.84270079])
    """,
)

softplus = primitive(
    "softplus",
    lambda x: np.logaddexp(np.zeros((), plain_array(x).dtype), x),
    lambda g, y, x: g * sigmoid(x),
    rule_text=("g·sigmoid(x)",),
    doc="""Smooth ReLU, elementwise: y = ln(1 + eˣ), without overflow. Integers give the dtype of ``np.logaddexp``.

    >>> import microtensor as mt
    >>> mt.softplus(mt.tensor([0.0, 100.0]))
    tensor([  0.69314718, 100.        ])
    """,
)

floor: Unary = primitive(
    "floor",
    np.floor,
    None,
    doc="""Largest integer not above x, elementwise. It is constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> mt.floor(mt.tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """,
)

ceil: Unary = primitive(
    "ceil",
    np.ceil,
    None,
    doc="""Smallest integer not below x, elementwise. It is constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> mt.ceil(mt.tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """,
)


def _round(x: Any, decimals: int = 0) -> Any:
    return np.round(x, decimals)


round = primitive(
    "round",
    _round,
    None,
    doc="""Nearest integer, elementwise; halves go to the even one. No gradient flows: it is constant almost everywhere.

    `decimals` is the number of decimal places; default: 0.

    >>> import microtensor as mt
    >>> mt.round(mt.tensor([1.5, 2.5, -0.4]))
    tensor([ 2.,  2., -0.])
    """,
)
