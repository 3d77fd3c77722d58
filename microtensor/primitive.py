"""The public path of operations and modes, called as a function to define an operation: ``mt.primitive(...)``.

Earlier names are kept for programs and pickles that hold them.
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
    """Whether operations on tensors that require a gradient are recorded just now."""
    return current_mode().recording


Traced, EachArgument = TensorBase, VariadicRule


def _primitive_of(module: str, name: str) -> Primitive[Any]:
    """What pickles of earlier versions call; operations have moved to other modules since."""
    return ops.primitives[name] if name in ops.primitives else primitive_of(module, name)


class _Callable(ModuleType):
    """A module that is called as what it is named after."""

    def __call__(self, *args: Any, **options: Any) -> Primitive[...]:
        made = Primitive(*args, **options)
        # Where the program defines it, so that a pickle finds it there.
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
