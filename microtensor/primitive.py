"""The public path of operations and modes. ``mt.primitive(...)`` is a call of this module: it defines an operation.

Earlier names are kept for old programs and pickles.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from microtensor import ops
from microtensor.core.primitive import (
    Node,
    Primitive,
    Rule,
    TensorBase,
    VariadicRule,
    label,
    primitive,
)
from microtensor.methods import primitive_of
from microtensor.support.modes import (
    Mode,
    Scope,
    current_mode,
    detect_anomaly,
    enable_grad,
    name_scope,
    no_grad,
    trace_lines,
)


def is_recording() -> bool:
    """Whether operations on tensors that require a gradient are recorded now."""
    return current_mode().recording


Traced, EachArgument = TensorBase, VariadicRule


def _primitive_of(module: str, name: str) -> Primitive[Any]:
    """The operation of a pickle of an earlier version. Operations have moved to other modules since."""
    return ops.primitives[name] if name in ops.primitives else primitive_of(module, name)


class _Callable(ModuleType):
    """A module that can be called: ``mt.primitive(...)`` makes a primitive."""

    def __call__(self, *args: Any, **options: Any) -> Primitive[...]:
        made = Primitive(*args, **options)
        # The module of the program that defines it, so that a pickle finds it there.
        made.__module__ = sys._getframe(1).f_globals.get("__name__", "__main__")
        return made

    __call__.__wrapped__ = Primitive.__init__  # type: ignore[attr-defined]


sys.modules[__name__].__class__ = _Callable


__all__ = [
    "EachArgument",
    "Mode",
    "Node",
    "Primitive",
    "Rule",
    "Scope",
    "TensorBase",
    "Traced",
    "VariadicRule",
    "detect_anomaly",
    "enable_grad",
    "is_recording",
    "label",
    "name_scope",
    "no_grad",
    "primitive",
    "trace_lines",
]
