"""Watches the backward passes of a script: the tensor of the last can be drawn, and a script can end there."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from microtensor import calculus
from microtensor.core import backprop
from microtensor.core.tensor import Tensor


class Stopped(BaseException):
    """The script is ended here, as was asked for. It is no Exception, so ``except Exception`` does not catch it."""


class Backwards:
    """The backward passes so far.

    Attributes
    ----------
    count : int
    root : Tensor or None
        The tensor that the last of them began at.
    stopped : bool
        Whether the script was ended there.
    """

    def __init__(self, last: int | None = None) -> None:
        self.count, self._last = 0, last
        self.root: Tensor | None = None
        self.stopped = False

    def ran(self, root: Tensor) -> None:
        """Note a backward pass. After the last one, the script ends."""
        if not self.stopped:
            self.count, self.root = self.count + 1, root
        if self._last is not None and self.count >= self._last:
            self.stopped = True
            raise Stopped


@contextmanager
def watched_backwards(last: int | None = None) -> Iterator[Backwards]:
    """Inside, the calls of :meth:`Tensor.backward` and of :func:`microtensor.grad` are noted.

    Parameters
    ----------
    last : int, optional
        The backward pass after which the script ends; 1 is the first.
    """
    seen = Backwards(last)
    places: list[tuple[Any, str]] = [
        *((owner, "backward") for owner in (Tensor, backprop)),
        *((owner, "grad") for owner in (sys.modules["microtensor"], calculus)),
    ]
    plain = [getattr(owner, name) for owner, name in places]
    for (owner, name), function in zip(places, plain, strict=True):
        setattr(owner, name, _watched(function, seen))
    try:
        yield seen
    finally:
        for (owner, name), function in zip(places, plain, strict=True):
            setattr(owner, name, function)


def _watched(function: Any, seen: Backwards) -> Any:
    @functools.wraps(function)
    def watched(outputs: Any, *inputs: Any, **options: Any) -> Any:
        found = function(outputs, *inputs, **options)
        seen.ran(outputs if isinstance(outputs, Tensor) else outputs[0])
        return found

    return watched
