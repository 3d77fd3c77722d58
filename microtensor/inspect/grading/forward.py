"""Runs the forward pass: its result, its cache as arrays, and its intermediate tensors by their variables' names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from microtensor.calculus import grad
from microtensor.core.tensor import Tensor
from microtensor.inspect.checking.calling import Pure
from microtensor.inspect.grading.inputs import Point
from microtensor.inspect.history import array_of, history
from microtensor.support.arrays import Array
from microtensor.support.modes import Mode, ModeSwitch


@dataclass(frozen=True)
class Forward:
    """One run of forward.

    Attributes
    ----------
    out : Tensor
    arguments : dict
        The tensors that forward was called with, of the arguments that are arrays of floats, by name.
    named : dict
        The recorded results that variables of the program hold, by name. Two results of one name are left out.
    ambiguous : set of str
        The names that were left out.
    cache : object
        What forward returned beside its result, tensors in it as arrays.
    has_cache : bool
    """

    out: Tensor
    arguments: dict[str, Tensor]
    named: dict[str, Tensor] = field(default_factory=dict)
    ambiguous: frozenset[str] = frozenset()
    cache: Any = None
    has_cache: bool = False

    @property
    def all_named(self) -> dict[str, Tensor]:
        """Arguments and intermediate results by name, in the order of the program."""
        found = sorted(self.named.items(), key=lambda item: creation(item[1]))
        return self.arguments | dict(found)

    def name_of(self, tensor: Tensor) -> str | None:
        """The name of a tensor."""
        return next((name for name, value in self.all_named.items() if value is tensor), None)

    def gradients(self, names: list[str], cotangent: Array) -> list[Array]:
        """The engine's gradients; 0 where nothing depends on a tensor."""
        wanted = [self.all_named[name] for name in names]
        with np.errstate(all="ignore"):
            found = grad(self.out, wanted, cotangent, allow_unused=True)
        return [np.zeros(x.shape) if g is None else g._array for x, g in zip(wanted, found, strict=True)]


def creation(tensor: Tensor) -> int:
    """The place of a result in the order of the program; -1 for a leaf."""
    return -1 if tensor.node is None else tensor.node.index


class watch_frames(ModeSwitch):
    """Inside, the frames of the program from which operations are recorded are kept, with their depth in the stack."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: dict[FrameType, int] = {}
        self.outside = _depth(sys._getframe(1))

    def _next(self, mode: Mode) -> Mode:
        return mode._replace(lines=self._line)

    def _line(self) -> str:
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "microtensor":
            frame = frame.f_back
        if frame not in self.frames:
            self.frames[frame] = _depth(frame)
        return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"

    def locals(self) -> list[dict[str, Any]]:
        """The variables of each frame that was called inside, the outermost first."""
        inside = [(depth, frame) for frame, depth in self.frames.items() if depth > self.outside]
        return [frame.f_locals for _, frame in sorted(inside, key=lambda pair: pair[0])]


def _depth(frame: FrameType | None) -> int:
    depth = 0
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


def run_forward(forward: Callable[..., Any], point: Point) -> Forward:
    """Run forward at a point. The buffers of its modules are put back.

    Raises
    ------
    TypeError
        `forward` returns neither a tensor nor a tensor and a cache.
    ValueError
        Its result depends on none of the arguments.
    Exception
        `forward` raises it.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.grading.forward import run_forward
    >>> from microtensor.inspect.grading.inputs import point_of
    >>> double = lambda x: (x * 2.0, (x, 2.0))
    >>> run = run_forward(double, point_of(double, [mt.tensor([1.0])]))
    >>> run.out, run.cache
    (tensor([2.], node=<multiply>), (array([1.]), 2.0))
    """
    arguments = point.copies()
    leaves = {}
    for i in point.floats:
        name = point.names[i]
        arguments[i] = leaves[name] = Tensor(arguments[i], requires_grad=True, name=name)
    extra: list[Any] = []

    def called(*tensors: Any) -> Tensor:
        result = forward(*tensors)
        if isinstance(result, (tuple, list)) and len(result) == 2 and isinstance(result[0], Tensor):
            extra.append(result[1])
            result = result[0]
        if not isinstance(result, Tensor):
            raise TypeError(
                f"check_backward: forward returned a {type(result).__name__}; it must return a tensor, or (out, cache) "
                "with a tensor first, computed from its arguments by operations on tensors"
            )
        return result

    watch = watch_frames()
    with np.errstate(all="ignore"), watch:
        out = Pure(called)(arguments)
    if not out.requires_grad:
        raise ValueError(
            "check_backward: the result of forward does not depend on its arguments by recorded operations; compute "
            "it from them without .numpy() and .detach()"
        )
    named, ambiguous = _named(out, watch)
    for name in leaves:
        named.pop(name, None)
    cache = _as_arrays(extra[0]) if extra else None
    return Forward(out, leaves, named, ambiguous - leaves.keys(), cache, bool(extra))


def _named(out: Tensor, watch: watch_frames) -> tuple[dict[str, Tensor], frozenset[str]]:
    """The recorded results before `out` by the names of variables. The outermost function decides between two."""
    recorded = {result for result, _ in history(out)}
    found: dict[str, Tensor] = {}
    ambiguous = set()
    outermost: dict[str, Tensor] = {}
    for number, variables in enumerate(watch.locals()):
        for name, value in variables.items():
            if not isinstance(value, Tensor) or value not in recorded:
                continue
            if number == 0:
                outermost[name] = value
            elif found.get(name, value) is not value:
                ambiguous.add(name)
            found.setdefault(name, value)
    for name in ambiguous - outermost.keys():
        del found[name]
    return found | outermost, frozenset(ambiguous - outermost.keys())


def _as_arrays(value: Any) -> Any:
    """A cache with arrays in the place of tensors, in tuples, lists and dictionaries too."""
    if isinstance(value, Tensor):
        return np.array(array_of(value))
    if isinstance(value, dict):
        return {key: _as_arrays(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_as_arrays, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_as_arrays, value))
    return value
