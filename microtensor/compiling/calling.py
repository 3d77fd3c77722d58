"""A call of a composition, and what its program depends on: other arguments, settings, the state of a module."""

from __future__ import annotations

import copy
import dis
import inspect
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from microtensor.compiling.trace import Refused
from microtensor.core.primitive import Primitive, TensorBase
from microtensor.core.tensor import Tensor
from microtensor.nn import Module

_PLAIN = (int, float, bool, str, type(None), np.generic, np.dtype)
# What a program may name: its contents do not change, or it is traced itself.
_FIXED = (types.ModuleType, types.BuiltinFunctionType, type, np.ufunc, Primitive, TensorBase)


class Call:
    """A call of the composition: which of its arguments are tensors, and what the others are."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.fn, self.args, self.options = fn, args, options
        self.tensors: list[Any] = [x for x in (*args, *options.values()) if isinstance(x, TensorBase)]
        self.state: dict[str, Tensor] = {}
        if isinstance(fn, Module):
            self.state = dict([*fn.named_parameters(), *fn.named_buffers()])

    def on(self, tensors: list[Any], fn: Callable[..., Any] | None = None) -> Any:
        """The result of the composition for other tensors in place of the arguments."""
        rest = iter(tensors)
        args = [next(rest) if isinstance(x, TensorBase) else x for x in self.args]
        options = {k: next(rest) if isinstance(x, TensorBase) else x for k, x in self.options.items()}
        return (fn or self.fn)(*args, **options)

    def traced(self, *leaves: Any) -> Any:
        """The result for traced tensors in place of the arguments and of the state."""
        count = len(self.tensors)
        if not isinstance(self.fn, Module):
            return self.on(list(leaves))
        held = {id(x): leaf for x, leaf in zip(self.state.values(), leaves[count:], strict=True)}
        twin = _twin(self.fn, held, {})
        before = list(settings_of(twin)), _tables(twin)
        found = self.on(list(leaves[:count]), twin)
        if before != (list(settings_of(twin)), _tables(twin)):
            raise Refused("the module sets one of its attributes when it is called")
        return found

    def names(self) -> list[str]:
        """The names of the parameters that take the tensors, and those of the state."""
        fn = self.fn.forward if isinstance(self.fn, Module) else self.fn
        given = dict(enumerate(self.args))
        try:
            bound = inspect.signature(fn).bind(*given, **self.options).arguments
        except (TypeError, ValueError):
            bound = {}
        place = {i: name for name, i in bound.items() if type(i) is int and i in given}
        found = [place.get(i, f"in{i}") for i, x in given.items() if isinstance(x, TensorBase)]
        return [*found, *(k for k, x in self.options.items() if isinstance(x, TensorBase)), *self.state]

    def key(self) -> Any:
        """All that a program depends on but the values of the tensors."""
        inputs = [*self.tensors, *self.state.values()]
        if not all(x._array.flags.c_contiguous for x in inputs):
            raise Refused("an argument is not contiguous in memory")
        kinds = [(x._array.shape, x._array.dtype.char, x._requires_grad) for x in inputs]
        given = (*self.args, *self.options.values())
        static = [None if isinstance(x, TensorBase) else plain(x, "an argument") for x in given]
        return tuple(kinds), tuple(static), tuple(self.options), tuple(settings_of(self.fn))


def plain(x: Any, what: str) -> Any:
    """A value that cannot change, as a part of a key. 1, 1.0 and True are different; NaN is equal to itself."""
    if isinstance(x, _PLAIN):
        return type(x), repr(x)
    if isinstance(x, (tuple, range)):
        return type(x), tuple(plain(item, what) for item in x)
    raise Refused(f"{what} is a {type(x).__name__}, which may change between two calls; pass a tensor or a plain value")


def settings_of(fn: Any) -> Iterator[Any]:
    """The plain values that a function or a module reads: they belong to a program."""
    if isinstance(fn, Module):
        for module in fn.modules():
            yield type(module)
            for name, value in vars(module).items():
                if isinstance(value, (*_PLAIN, tuple)):
                    yield name, plain(value, f"{type(module).__name__}.{name}")
    elif isinstance(fn, types.FunctionType):
        yield from _of_function(fn, set())
    elif not isinstance(fn, Primitive):
        raise Refused(f"it is a {type(fn).__name__}; only a function or a module can be compiled")


def _of_function(fn: types.FunctionType, seen: set[Any]) -> Iterator[Any]:
    if fn in seen or (fn.__module__ or "").partition(".")[0] in ("microtensor", "numpy"):
        return
    seen.add(fn)
    yield fn.__code__
    read = {name: fn.__globals__[name] for name in _globals_of(fn.__code__) if name in fn.__globals__}
    cells = dict(zip(fn.__code__.co_freevars, map(_content, fn.__closure__ or ()), strict=True))
    defaults = dict(enumerate(fn.__defaults__ or ()))
    for name, value in (read | cells | (fn.__kwdefaults__ or {}) | defaults).items():
        if isinstance(value, types.FunctionType):
            yield from _of_function(value, seen)
        elif hasattr(type(value), "why"):
            # A compiled function inside this one is traced with it.
            yield from settings_of(value.fn)
        elif not isinstance(value, _FIXED):
            yield name, plain(value, f"{name!r}, which it reads,")


@lru_cache
def _globals_of(code: types.CodeType) -> frozenset[str]:
    """The global names that a function reads, and those that the functions inside it read."""
    inside = [_globals_of(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    own = (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    return frozenset(own).union(*inside)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Not filled yet, or deleted: the function would raise a NameError.
        return None


def _twin(module: Module, held: dict[int, Any], made: dict[int, Module]) -> Module:
    """A copy of a module with other tensors in its tables, so that nobody sees them in the module itself."""
    if id(module) not in made:
        twin = made[id(module)] = copy.copy(module)
        for table in (twin._parameters, twin._buffers):
            table.update({name: held.get(id(x), x) for name, x in table.items()})
        twin._modules.update({name: _twin(child, held, made) for name, child in module._modules.items()})
        # A draw for the trace must not be missing in the program of the user.
        drawn = {k: copy.deepcopy(x) for k, x in vars(module).items() if isinstance(x, np.random.Generator)}
        twin.__dict__.update(drawn)
    return made[id(module)]


def _tables(module: Module) -> list[int]:
    return [id(x) for m in module.modules() for table in (m._parameters, m._buffers) for x in table.values()]
