"""Records what the engine does not record while a script runs: for its picture only, and no longer than for a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from microtensor.core.primitive import Node
from microtensor.core.tensor import Tensor
from microtensor.inspect.history import asides
from microtensor.support.modes import Mode, ModeSwitch, calling_line, current_mode


@contextmanager
def unrecorded_kept() -> Iterator[None]:
    """Inside, the record of each result that requires no gradient is kept aside.

    The results are what they would be without it: no gradient flows through them, and a backward pass frees what it
    freed before. A step of the program begins with the first operation that is recorded after a tensor that requires a
    gradient was given another value.
    """
    with _Keep():
        yield


class _Keep(ModeSwitch):
    def __init__(self) -> None:
        super().__init__()
        # Whether anything was recorded so far, and whether a parameter has changed since the step began.
        self.recorded = self.changed = False

    def _next(self, mode: Mode) -> Mode:
        return mode._replace(aside=self._aside, lines=self._line)

    def _aside(self, result: Tensor, *call: Any) -> Tensor:
        """What a mode tells of: an unrecorded result with its call, or a tensor with another value."""
        if call:
            operation, inputs, params = call
            asides.keep(result, Node(operation, inputs, params, current_mode().scope, 0, calling_line()))
        elif result.requires_grad and self.recorded:
            # The first value that a layer gives its parameter is no end of a step.
            self.changed |= result.grad is not None or result._version > 1
        return result

    def _line(self) -> str:
        """The line of an operation that is recorded."""
        self.recorded = True
        if self.changed:
            self.changed = False
            asides.begin_step()
        return calling_line()
