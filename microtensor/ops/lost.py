"""A gradient that was taken as a number inside a function that is being differentiated by the same tensor."""

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
    doc="""The gradient `value` by x, linked to x: where a derivative goes back along it, `refuse` is called.

    `refuse` raises, unless the gradient is the same for every x, so that its derivative is 0.
    """,
)
