"""All operations: the primitives of core, more primitives, and functions composed of a few primitives.

Derivative rules are only here and in ``core/ops.py``. A rule takes the cotangent ``g`` of the output, the output ``y``
and the inputs. It ignores broadcasting, which the engine undoes in one place.

All operations raise ValueError when shapes do not broadcast, ``numpy.exceptions.AxisError`` when an axis is out of
range, and TypeError when an axis or a size is not an integer.
"""

from typing import Any

from microtensor.core import ops as core
from microtensor.core.ops import (
    add,
    astype,
    broadcast_to,
    divide,
    exp,
    log,
    mean,
    multiply,
    multiply_sum,
    narrowed,
    negative,
    permute_dims,
    reshape,
    sqrt,
    square,
    subtract,
    sum,
    sum_to,
    widened,
)
from microtensor.core.primitive import Primitive, as_array
from microtensor.ops import common, elementwise, indexing, linalg, reductions, shape, windows
from microtensor.ops.common import *
from microtensor.ops.common import as_operand, equal, greater, machine_epsilon, shape_of
from microtensor.ops.elementwise import *
from microtensor.ops.elementwise import absolute, chosen, masked
from microtensor.ops.indexing import *
from microtensor.ops.indexing import getitem, place, put
from microtensor.ops.linalg import *
from microtensor.ops.linalg import einsum_core
from microtensor.ops.lost import lost_gradient
from microtensor.ops.reductions import *
from microtensor.ops.shape import *
from microtensor.ops.windows import *
from microtensor.ops.windows import overlap_add, sliding_windows

primitives: dict[str, Primitive[Any]] = {
    value.name: value
    for room in (core, elementwise, indexing, linalg, reductions, windows)
    for value in vars(room).values()
    if isinstance(value, Primitive)
}

__all__ = [
    "absolute",
    "add",
    "as_array",
    "as_operand",
    "astype",
    "broadcast_to",
    "chosen",
    "divide",
    "einsum_core",
    "equal",
    "exp",
    "getitem",
    "greater",
    "log",
    "lost_gradient",
    "machine_epsilon",
    "masked",
    "mean",
    "multiply",
    "multiply_sum",
    "narrowed",
    "negative",
    "overlap_add",
    "permute_dims",
    "place",
    "primitives",
    "put",
    "reshape",
    "shape_of",
    "sliding_windows",
    "sqrt",
    "square",
    "subtract",
    "sum",
    "sum_to",
    "widened",
]
__all__ += common.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += linalg.__all__
__all__ += reductions.__all__
__all__ += shape.__all__
__all__ += windows.__all__
