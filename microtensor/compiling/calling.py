"""A call of a composition, and what its program depends on: arguments, settings, and what the function reads."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from microtensor.compiling.reading import Reading, plain
from microtensor.compiling.trace import Refused
from microtensor.compiling.twins import Twins
from microtensor.core.primitive import TensorBase
from microtensor.creation import get_default_dtype
from microtensor.nn import Module


class Call:
    """A call of the composition: which of its arguments are tensors, and what the others are.

    Attributes
    ----------
    tensors : list of Tensor
    inputs : list of Tensor
        The inputs of a program: the arguments, then the parameters and buffers that are read.
    """

    def __init__(self, reading: Reading, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.reading, self.args, self.options = reading, args, options
        self.tensors: list[Any] = [x for x in (*args, *options.values()) if isinstance(x, TensorBase)]
        self.inputs = [*self.tensors, *reading.state.values()]

    def on(self, tensors: list[Any], fn: Callable[..., Any] | None = None) -> Any:
        """The result of the composition for other tensors in place of the arguments."""
        rest = iter(tensors)
        args = [next(rest) if isinstance(x, TensorBase) else x for x in self.args]
        options = {k: next(rest) if isinstance(x, TensorBase) else x for k, x in self.options.items()}
        return (fn or self.reading.fn)(*args, **options)

    def traced(self, *leaves: Any) -> Any:
        """The result for traced tensors in place of the arguments and of the state."""
        count, reading = len(self.tensors), self.reading
        if reading.owners:
            twins = Twins(dict(zip(map(id, reading.state.values()), leaves[count:], strict=True)))
            reading = Reading(twins.of(reading.fn), whole=True)
        found = self.on(list(leaves[:count]), reading.fn)
        if not reading.holds():
            raise Refused("a module, an object or a class sets one of its attributes in a call, or draws numbers")
        return found

    def names(self) -> list[str]:
        """The names of the parameters that take the tensors, and those of the state."""
        fn = self.reading.fn
        fn = fn.forward if isinstance(fn, Module) else fn
        given = dict(enumerate(self.args))
        try:
            bound = inspect.signature(fn).bind(*given, **self.options).arguments
        except (TypeError, ValueError):
            bound = {}
        place = {i: name for name, i in bound.items() if type(i) is int and i in given}
        found = [place.get(i, f"in{i}") for i, x in given.items() if isinstance(x, TensorBase)]
        return [*found, *(k for k, x in self.options.items() if isinstance(x, TensorBase)), *self.reading.state]

    def key(self) -> Any:
        """All that a program depends on but the values of the tensors."""
        if not all(x._array.flags.c_contiguous for x in self.inputs):
            raise Refused("an argument is not contiguous in memory")
        kinds = [(x._array.shape, x._array.dtype.char, x._requires_grad) for x in self.inputs]
        given = (*self.args, *self.options.values())
        static = [None if isinstance(x, TensorBase) else plain(x, "an argument") for x in given]
        return tuple(kinds), tuple(static), tuple(self.options), get_default_dtype(), self.reading.settings
