"""A gradient that was computed as a plain number inside a function, while that function is differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microtensor.core.primitive import Primitive, primitive
from microtensor.ops.elementwise import where


def _refuse(g: Any, y: Any, value: Any, x: Any, refuse: Callable[[], None]) -> Any:
    refuse()
    return where(False, g, 0.0)


lost_gradient: Primitive[Any] = primitive(
    "grad",
    lambda value, x, *, refuse: value,
    None,
    _refuse,
    doc="""The gradient `value` by x, linked to x. A derivative of it calls `refuse`.

    `refuse` raises an error, unless the gradient is constant in x. Then its derivative is 0.
    """,
)
