"""Functions of each element: activations, signs, extrema."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtensor.ops.arithmetic import where
from microtensor.ops.common import doctests, equal, greater
from microtensor.primitive import Array, Primitive, primitive

tanh = primitive(
    "tanh",
    np.tanh,
    lambda g, y, x: g * (1 - y * y),
    shown=("g*(1-y²)",),
    doc="""Hyperbolic tangent, elementwise: y = tanh x.

    >>> import microtensor as mt
    >>> mt.tanh(mt.tensor([0.0, 1.0]))
    tensor([0.        , 0.76159416])
    """,
)


def _sigmoid(x: Array) -> Array:
    # exp(-|x|) cannot overflow, so both tails keep all their digits.
    tail = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1 / (1 + tail), tail / (1 + tail))


sigmoid = primitive(
    "sigmoid",
    _sigmoid,
    lambda g, y, x: g * (y * (1 - y)),
    shown=("g*y*(1-y)",),
    doc="""Logistic sigmoid, elementwise: y = 1 / (1 + e⁻ˣ), without overflow in either tail.

    >>> import microtensor as mt
    >>> mt.sigmoid(mt.tensor([0.0, 2.0]))
    tensor([0.5       , 0.88079708])
    """,
)

relu = primitive(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda g, y, x: g * greater(y, 0),
    shown=("g*[x>0]",),
    doc="""Rectified linear unit, elementwise: y = max(x, 0), with derivative 0 at 0.

    >>> import microtensor as mt
    >>> mt.relu(mt.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """,
)

absolute = primitive(
    "abs",
    np.abs,
    lambda g, y, x: g * sign(x),
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


def _share(a: Any, y: Any, b: Any) -> Any:
    # Where both arguments attain the extremum each takes half, as in PyTorch.
    return where(equal(a, b), 0.5, equal(a, y))


maximum = primitive(
    "maximum",
    np.maximum,
    lambda g, y, a, b: g * _share(a, y, b),
    lambda g, y, a, b: g * _share(b, y, a),
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
    lambda g, y, a, b: g * _share(a, y, b),
    lambda g, y, a, b: g * _share(b, y, a),
    shown=("g*[a<b]", "g*[b<a]"),
    doc="""Smaller of two tensors, elementwise with broadcasting; a tie shares the gradient equally.

    Raises ValueError when the shapes do not broadcast.

    >>> import microtensor as mt
    >>> mt.minimum(mt.tensor([1.0, 5.0]), 3.0)
    tensor([1., 3.])
    """,
)

__test__ = doctests(globals())
