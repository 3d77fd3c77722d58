"""Functions of each element: trigonometric, hyperbolic, activations, rounding, extrema."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from microtensor.ops.arithmetic import chosen, exp, sqrt, where
from microtensor.ops.common import as_array, doctests, equal, greater
from microtensor.primitive import Primitive, primitive
from microtensor.support.arrays import Array, accumulator, plain_array

# NumPy turns a Python number into an array at every call, which is a tenth of the time of a small tanh and its slope.
_ONE = {np.dtype(kind): np.ones((), kind) for kind in (np.float16, np.float32, np.float64)}

tanh = primitive(
    "tanh",
    np.tanh,
    # Not g − g·y², which is ∞ − ∞·0 for an infinite cotangent where y is 0.
    lambda g, y, x: g * ((_ONE[y.dtype] if type(y) is np.ndarray else 1) - y * y),
    shown=("g*(1-y²)",),
    doc="""Hyperbolic tangent, elementwise: y = tanh x.

    >>> import microtensor as mt
    >>> mt.tanh(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.76159416])
    """,
)


def _sigmoid(x: Any) -> Array:
    x = plain_array(x)
    # Where e⁻ˣ overflows its reciprocal is 0, to within the smallest normal number.
    with np.errstate(over="ignore"):
        y: Array = np.asarray(np.exp(np.multiply(x, -1.0, dtype=accumulator(x.dtype))))
        y += 1
        np.reciprocal(y, out=y)
    return y.astype(np.float16) if x.dtype.char == "e" else y


sigmoid = primitive(
    "sigmoid",
    _sigmoid,
    lambda g, y, x: g * (y * (1 - y)),
    shown=("g*y*(1-y)",),
    doc="""Logistic sigmoid, elementwise: y = 1 / (1 + e⁻ˣ), without overflow in either tail.

    Integers give float64; float16 is computed in float32.

    >>> import microtensor as mt
    >>> mt.sigmoid(mt.tensor([0.0, 2.0]))
    tensor([0.5       , 0.88079708])
    """,
)

relu = primitive(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda g, y, x: chosen(g, greater(y, 0)),
    shown=("g*[x>0]",),
    doc="""Rectified linear unit, elementwise: y = max(x, 0), with derivative 0 at 0. Integers stay integers.

    >>> import microtensor as mt
    >>> mt.relu(mt.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """,
)

absolute = primitive(
    "abs",
    np.abs,
    lambda g, y, x: chosen(g, ~equal(x, 0)) * sign(x),
    symbol="|x|",
    shown=("g*sign(x)",),
    doc="""Absolute value, elementwise: y = |x|, with derivative 0 at 0.

    >>> import microtensor as mt
    >>> mt.abs(mt.tensor([-1.0, 2.0]))
    tensor([1., 2.])
    """,
)

sign: Primitive = primitive(
    "sign",
    np.sign,
    None,
    doc="""Sign, elementwise: −1, 0 or 1; constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> mt.sign(mt.tensor([-3.0, 2.0]))
    tensor([-1.,  1.])
    """,
)


def _share(g: Any, a: Any, y: Any, b: Any) -> Any:
    # Where both arguments attain the extremum each takes half, as in PyTorch.
    taken = chosen(g, equal(a, y))
    tie = equal(a, b)
    return where(tie, taken * 0.5, taken) if tie.any() else taken


maximum = primitive(
    "maximum",
    np.maximum,
    lambda g, y, a, b: _share(g, a, y, b),
    lambda g, y, a, b: _share(g, b, y, a),
    shown=("g*[a>b]", "g*[b>a]"),
    doc="""Larger of two tensors, elementwise with broadcasting; a tie shares the gradient equally.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.maximum(mt.tensor([1.0, 5.0]), 3.0)
    tensor([3., 5.])
    """,
)

minimum = primitive(
    "minimum",
    np.minimum,
    lambda g, y, a, b: _share(g, a, y, b),
    lambda g, y, a, b: _share(g, b, y, a),
    shown=("g*[a<b]", "g*[b<a]"),
    doc="""Smaller of two tensors, elementwise with broadcasting; a tie shares the gradient equally.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.minimum(mt.tensor([1.0, 5.0]), 3.0)
    tensor([1., 3.])
    """,
)

expm1 = primitive(
    "expm1",
    np.expm1,
    lambda g, y, x: g * (y + 1),
    shown=("g*(y+1)",),
    doc="""Exponential minus one, elementwise: y = eˣ − 1, exact to rounding near 0.

    >>> import microtensor as mt
    >>> mt.expm1(mt.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """,
)

log1p = primitive(
    "log1p",
    np.log1p,
    lambda g, y, x: g / (1 + x),
    shown=("g/(1+x)",),
    doc="""Logarithm of one plus x, elementwise: y = ln(1 + x), exact to rounding near 0; NaN below −1.

    >>> import microtensor as mt
    >>> mt.log1p(mt.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """,
)

log2 = primitive(
    "log2",
    np.log2,
    lambda g, y, x: g / (x * math.log(2)),
    shown=("g/(x·ln2)",),
    doc="""Logarithm to base 2, elementwise: −∞ at 0, NaN below.

    >>> import microtensor as mt
    >>> mt.log2(mt.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """,
)

sin = primitive(
    "sin",
    np.sin,
    lambda g, y, x: g * cos(x),
    shown=("g*cos(x)",),
    doc="""Sine, elementwise; x in radians.

    >>> import microtensor as mt
    >>> mt.sin(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.84147098])
    """,
)

cos: Primitive = primitive(
    "cos",
    np.cos,
    lambda g, y, x: -(g * sin(x)),
    shown=("-g*sin(x)",),
    doc="""Cosine, elementwise; x in radians.

    >>> import microtensor as mt
    >>> mt.cos(mt.tensor([0.0, 1.0]))
    tensor([1.        , 0.54030231])
    """,
)

tan = primitive(
    "tan",
    np.tan,
    lambda g, y, x: g * (1 + y * y),
    shown=("g*(1+y²)",),
    doc="""Tangent, elementwise; x in radians.

    >>> import microtensor as mt
    >>> mt.tan(mt.tensor([0.0, 1.0]))
    tensor([0.        , 1.55740772])
    """,
)

arcsin = primitive(
    "arcsin",
    np.arcsin,
    lambda g, y, x: g / sqrt(1 - x * x),
    shown=("g/√(1-x²)",),
    doc="""Inverse sine, elementwise, in radians from −π/2 to π/2; NaN outside [−1, 1], derivative ∞ at ±1.

    >>> import microtensor as mt
    >>> mt.arcsin(mt.tensor([0.0, 1.0]))
    tensor([0.        , 1.57079633])
    """,
)

arccos = primitive(
    "arccos",
    np.arccos,
    lambda g, y, x: -(g / sqrt(1 - x * x)),
    shown=("-g/√(1-x²)",),
    doc="""Inverse cosine, elementwise, in radians from 0 to π; NaN outside [−1, 1], derivative −∞ at ±1.

    >>> import microtensor as mt
    >>> mt.arccos(mt.tensor([1.0, 0.0]))
    tensor([0.        , 1.57079633])
    """,
)


def _turn(g: Any, a: Any, b: Any) -> Any:
    """G · a / (a² + b²), in which no square leaves the dtype: float16 ends at 255², float64 at 1e154²."""
    # The larger of the two is taken out, as a constant, because it cancels; not where it is 0 or infinite.
    size = np.maximum(np.abs(as_array(a)), np.abs(as_array(b))).astype(g.dtype, copy=False)
    size = np.where((size > 0) & (size < np.inf), size, size.dtype.type(1))
    a, b = a / size, b / size
    return g * (a / (a * a + b * b)) / size


arctan = primitive(
    "arctan",
    np.arctan,
    lambda g, y, x: _turn(g, 1.0, x),
    shown=("g/(1+x²)",),
    doc="""Inverse tangent, elementwise, in radians from −π/2 to π/2.

    >>> import microtensor as mt
    >>> mt.arctan(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.78539816])
    """,
)

arctan2 = primitive(
    "arctan2",
    np.arctan2,
    lambda g, y, a, b: _turn(g, b, a),
    lambda g, y, a, b: -_turn(g, a, b),
    shown=("g*b/(a²+b²)", "-g*a/(a²+b²)"),
    doc="""Angle of the point (b, a), elementwise with broadcasting, in radians from −π to π.

    The derivative at the origin is NaN, as in JAX; PyTorch gives 0. Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.arctan2(mt.tensor([1.0, 0.0]), mt.tensor([0.0, -1.0]))
    tensor([1.57079633, 3.14159265])
    """,
)

sinh = primitive(
    "sinh",
    np.sinh,
    lambda g, y, x: g * cosh(x),
    shown=("g*cosh(x)",),
    doc="""Hyperbolic sine, elementwise.

    >>> import microtensor as mt
    >>> mt.sinh(mt.tensor([0.0, 1.0]))
    tensor([0.        , 1.17520119])
    """,
)

cosh: Primitive = primitive(
    "cosh",
    np.cosh,
    lambda g, y, x: g * sinh(x),
    shown=("g*sinh(x)",),
    doc="""Hyperbolic cosine, elementwise.

    >>> import microtensor as mt
    >>> mt.cosh(mt.tensor([0.0, 1.0]))
    tensor([1.        , 1.54308063])
    """,
)


def _erf(x: Any) -> Array:
    x = plain_array(x)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    # NumPy has no error function; the C library's, element by element, is right to the last digit.
    return np.fromiter(map(math.erf, x.ravel().tolist()), dtype, x.size).reshape(x.shape)


erf = primitive(
    "erf",
    _erf,
    lambda g, y, x: g * (2 / math.sqrt(math.pi)) * exp(-(x * x)),
    shown=("g*2/√π*exp(-x²)",),
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
    shown=("g*sigmoid(x)",),
    doc="""Smooth ReLU, elementwise: y = ln(1 + eˣ), without overflow. Integers give NumPy's dtype of logaddexp.

    >>> import microtensor as mt
    >>> mt.softplus(mt.tensor([0.0, 100.0]))
    tensor([  0.69314718, 100.        ])
    """,
)

floor = primitive(
    "floor",
    np.floor,
    None,
    doc="""Largest integer not above x, elementwise; constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> mt.floor(mt.tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """,
)

ceil = primitive(
    "ceil",
    np.ceil,
    None,
    doc="""Smallest integer not below x, elementwise; constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> mt.ceil(mt.tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """,
)

round: Primitive = primitive(
    "round",
    np.round,
    None,
    doc="""Nearest integer, halves to even, elementwise; constant almost everywhere, so no gradient flows.

    >>> import microtensor as mt
    >>> mt.round(mt.tensor([1.5, 2.5, -0.4]))
    tensor([ 2.,  2., -0.])
    """,
)

__test__ = doctests(globals())
