"""Compiled functions: they run a program where there is one for their arguments, and the composition elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from microtensor.compiling.calling import Call
from microtensor.compiling.node import LOCK, Fused, Saved
from microtensor.compiling.partition import work
from microtensor.compiling.program import Builder, Program, policy_of
from microtensor.compiling.reading import Reading, Wrapped, check_primitive
from microtensor.compiling.replay import Replay
from microtensor.compiling.trace import Refused, Symbol, Trace
from microtensor.core.primitive import Node, label, new_tensor, origin_of
from microtensor.nn import Module
from microtensor.support.modes import Mode, current_mode

Backend: TypeAlias = Literal["numba", "numpy"]
# Programs that a compiled function keeps; the oldest one goes first.
MOST = 64


class CompileError(RuntimeError):
    """A function cannot be compiled, and ``strict=True`` was given."""


class Compiled(Wrapped):
    """A function made by :func:`compile`.

    Attributes
    ----------
    why : str
        Why the last call ran the composition; empty if it ran a program.
    """

    def __init__(self, fn: Callable[..., Any], strict: bool, build: Builder) -> None:
        functools.update_wrapper(self, fn, updated=())
        self.fn, self.strict, self.build = fn, strict, build
        inner = fn.func if isinstance(fn, functools.partial) else fn
        self.name = getattr(inner, "__name__", type(inner).__name__)
        self.why = ""
        # The operations of each result, by all that a program depends on; or why there are none.
        self._programs: dict[Any, list[Fused] | str] = {}
        self._last: Program | Replay | None = None
        self._reading: Reading | None = None

    def __repr__(self) -> str:
        return f"<compiled {self.name}>"

    def __reduce__(self) -> Any:
        # A copy makes its own programs.
        return Compiled, (self.fn, self.strict, self.build)

    def __getattr__(self, name: str) -> Any:
        """What a compiled module has: its parameters, `train`, `state_dict` and all else."""
        fn = self.__dict__.get("fn")
        if isinstance(fn, Module) and not name.startswith("__"):
            return getattr(fn, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def source(self) -> str:
        """The program of the last call as NumPy: its forward pass and the derived backward pass.

        Raises
        ------
        RuntimeError
            No call has run a program yet.
        """
        if self._last is None:
            raise RuntimeError(f"{self!r} has no source yet: {self.why or 'call it once'}")
        return self._last.source

    def __call__(self, *args: Any, **options: Any) -> Any:
        mode = current_mode()
        # A trace around this one sees the composition, and so does whoever watches each operation.
        if mode.tracer or mode.aside or mode.watched or mode.lines or mode.keeping:
            return self.fn(*args, **options)
        try:
            call = self._call(args, options)
            key = call.key(), mode.recording
            found = self._programs.get(key)
            if found is None:
                with LOCK:
                    found = self._programs[key] = self._compiled(call)
                    while len(self._programs) > MOST:
                        del self._programs[next(iter(self._programs))]
            if isinstance(found, str):
                raise Refused(found)
        except Refused as refusal:
            self.why = str(refusal)
            if self.strict:
                raise CompileError(f"{self!r}: {refusal}") from None
            return self.fn(*args, **options)
        program = self._last = found[0].program
        self.why = ""
        try:
            computed = program.forward(dict(zip(program.inputs, [x._array for x in call.inputs], strict=True)))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # The composition raises it too, and says where.
            self.why = f"its program raised {type(error).__name__}: {error}"
            return self.fn(*args, **options)
        return _results(found, call, mode, computed)

    def _call(self, args: tuple[Any, ...], options: dict[str, Any]) -> Call:
        fn: Any = self.fn
        if isinstance(fn, functools.partial):
            fn, args, options = fn.func, (*fn.args, *args), fn.keywords | options
        reading = self._reading
        try:
            if reading is None or reading.fn is not fn or not reading.holds():
                reading = self._reading = Reading(fn)
        except (RecursionError, TypeError) as error:
            raise Refused(f"what it reads cannot be followed: {type(error).__name__}: {error}") from None
        return Call(reading, args, options)

    def _compiled(self, call: Call) -> list[Fused] | str:
        """The operations of the results, or why there are none."""
        try:
            trace, again = (Trace(call.traced, call.inputs, check_primitive) for _ in range(2))
            if trace.described() != again.described():
                raise Refused("two calls with the same arguments compute different things")
            program = _program(trace, call.names(), self.build)
        except Refused as refusal:
            return str(refusal)
        except Exception as error:
            # The composition raises it too, with real values; or else a trace is the cause.
            return f"while it was traced: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return [Fused(program, i, self.name) for i in range(len(trace.outputs))]


def _program(trace: Trace, names: list[str], build: Builder) -> Program | Replay:
    symbols, policy = trace.symbols(), policy_of(build)
    if len(symbols) <= policy.whole and all(s.fuses for s in symbols):
        # What does not fuse as a whole may fuse in parts.
        with suppress(Refused):
            program = Program(trace, names, build)
            if program.work < work(symbols) or max(s.size * s.dtype.itemsize for s in symbols) not in policy.once:
                return program
    return Replay(trace, names, build)


def _results(fused: list[Fused], call: Call, mode: Mode, found: list[Any]) -> Any:
    """The results of a call, from what its program has computed. Each has its record."""
    program = fused[0].program
    trace = program.trace
    inputs = call.inputs
    needs = [inputs[i] for i in program.needs]
    fixed = {name: x for name, x in zip(program.inputs, inputs, strict=True) if not x._requires_grad}
    count = len(fused) + len(trace.moved)
    moved = found[len(fused) : count]
    arrays = dict(zip(program.saved.values(), found[count:], strict=True))
    saved = Saved(call, arrays | {name: x._array for name, x in fixed.items()}, fixed)
    results = []
    for i, operation in enumerate(fused):
        node = None
        if mode.recording and trace.gradients[i]:
            node = Node(operation, (*needs, saved), {}, mode.scope, sum(x._version for x in needs), "")
        origin = "" if node else "unrecorded" if needs else origin_of(tuple(inputs))
        y = new_tensor(found[i].reshape(trace.outputs[i].shape), node, origin)
        results.append(label(y, trace.names[i]))
    if trace.effects:
        tensors = {s.index: x for s, x in zip(trace.inputs, inputs, strict=True)}
        tensors |= {s.index: new_tensor(x.reshape(s.shape)) for s, x in zip(trace.moved, moved, strict=True)}
        for action, args in trace.effects:
            action(*(tensors[x.index] if isinstance(x, Symbol) else x for x in args))
    return trace.several(results) if trace.several else results[0]
