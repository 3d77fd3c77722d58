"""Watches the backward passes of a script: the last tensor they began at can be drawn, and a script can end at one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
    """Inside, the calls of :meth:`Tensor.backward` are noted.

    Parameters
    ----------
    last : int, optional
        The backward pass after which the script ends; 1 is the first.
    """
    seen, plain = Backwards(last), Tensor.backward

    def backward(self: Tensor, *inputs: Any, **options: Any) -> None:
        plain(self, *inputs, **options)
        seen.ran(self)

    backward.__doc__ = plain.__doc__
    Tensor.backward = backward  # type: ignore[assignment]
    try:
        yield seen
    finally:
        Tensor.backward = plain
