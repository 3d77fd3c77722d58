"""The primitives: a NumPy forward and one derivative rule per argument, side by side.

The only place with derivatives. A rule takes the cotangent ``g`` of the output, the output ``y`` and the
inputs; it never thinks about broadcasting, which the engine undoes in one place. Rules run on arrays for a
first derivative and on tensors for higher ones, so each is written with operators and with primitives.
"""

from microtensor.ops.arithmetic import add, divide, exp, log, multiply, negative, power, sqrt, square, subtract, where
from microtensor.ops.common import (
    Axis,
    all_finite,
    axis_count,
    equal,
    greater,
    machine_epsilon,
    normalize_axis,
    shape_of,
    stop_gradient,
)
from microtensor.ops.elementwise import absolute, maximum, minimum, relu, sigmoid, sign, tanh
from microtensor.ops.indexing import getitem, pick, place, put
from microtensor.ops.linalg import matmul
from microtensor.ops.reductions import max, mean, sum
from microtensor.ops.shape import astype, broadcast_to, permute_dims, reshape, sum_to
from microtensor.primitive import Primitive

primitives: dict[str, Primitive] = {p.name: p for p in list(globals().values()) if isinstance(p, Primitive)}

__all__ = [
    "Axis",
    "absolute",
    "add",
    "all_finite",
    "astype",
    "axis_count",
    "broadcast_to",
    "divide",
    "equal",
    "exp",
    "getitem",
    "greater",
    "log",
    "machine_epsilon",
    "matmul",
    "max",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negative",
    "normalize_axis",
    "permute_dims",
    "pick",
    "place",
    "power",
    "primitives",
    "put",
    "relu",
    "reshape",
    "shape_of",
    "sigmoid",
    "sign",
    "sqrt",
    "square",
    "stop_gradient",
    "subtract",
    "sum",
    "sum_to",
    "tanh",
    "where",
]
