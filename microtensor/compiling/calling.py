"""A call of a composition, and what its program depends on: other arguments, settings, the state of a module."""

from __future__ import annotations

import copy
import dis
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from microtensor.compiling.trace import Refused, plain_text
from microtensor.core.primitive import Primitive, TensorBase
from microtensor.core.tensor import Tensor
from microtensor.creation import get_default_dtype
from microtensor.nn import Module

_TABLES = frozenset(("_parameters", "_buffers", "_modules", "_transient"))
_PLAIN = (int, float, bool, str, type(None), np.generic, np.dtype)
# What a program may name: its contents do not change, or it is traced itself.
_FIXED = (types.ModuleType, types.BuiltinFunctionType, type, np.ufunc, Primitive, TensorBase)


class Call:
    """A call of the composition: which of its arguments are tensors, and what the others are.

    Attributes
    ----------
    tensors : list of Tensor
    state : dict
        The parameters and buffers that it reads, by name; each of them once.
    settings : list
        The plain values that it reads.
    """

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.fn, self.args, self.options = fn, args, options
        self.tensors: list[Any] = [x for x in (*args, *options.values()) if isinstance(x, TensorBase)]
        modules: dict[str, Module] = {}
        self.settings = list(settings_of(fn, modules))
        self.modules = modules
        self.state: dict[str, Tensor] = {}
        seen: set[int] = set()
        for prefix, module in modules.items():
            for name, x in (*module.named_parameters(), *module.named_buffers()):
                if id(x) not in seen:
                    seen.add(id(x))
                    self.state[f"{prefix}.{name}" if prefix else name] = x

    def on(self, tensors: list[Any], fn: Callable[..., Any] | None = None) -> Any:
        """The result of the composition for other tensors in place of the arguments."""
        rest = iter(tensors)
        args = [next(rest) if isinstance(x, TensorBase) else x for x in self.args]
        options = {k: next(rest) if isinstance(x, TensorBase) else x for k, x in self.options.items()}
        return (fn or self.fn)(*args, **options)

    def traced(self, *leaves: Any) -> Any:
        """The result for traced tensors in place of the arguments and of the state."""
        count = len(self.tensors)
        if not self.modules:
            return self.on(list(leaves))
        twins = Twins(dict(zip(map(id, self.state.values()), leaves[count:], strict=True)))
        twin = twins.of(self.fn)
        modules = [twins.of(module) for module in self.modules.values()]
        before = [(_of_module(m, set()), _tables(m)) for m in modules]
        found = self.on(list(leaves[:count]), twin)
        if before != [(_of_module(m, set()), _tables(m)) for m in modules]:
            raise Refused("the module sets one of its attributes when it is called, or draws numbers")
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
        settings = *self.state, get_default_dtype(), *self.settings
        return tuple(kinds), tuple(static), tuple(self.options), settings


def plain(x: Any, what: str) -> Any:
    """A value that cannot change, as a part of a key. 1, 1.0 and True are different; NaN is equal to itself."""
    if isinstance(x, _PLAIN):
        return type(x), repr(x)
    if isinstance(x, (tuple, range)):
        return type(x), tuple(plain(item, what) for item in x)
    raise Refused(f"{what} is a {type(x).__name__}, which may change between two calls; pass a tensor or a plain value")


def settings_of(fn: Any, modules: dict[str, Module]) -> Iterator[Any]:
    """The plain values that a function or a module reads: they belong to a program. Fills in the modules, by name."""
    if isinstance(fn, Module):
        modules[""] = fn
        yield from _of_module(fn, set())
    elif isinstance(fn, types.FunctionType):
        yield from _of_function(fn, set(), modules)
    elif not isinstance(fn, Primitive):
        raise Refused(f"it is a {type(fn).__name__}; only a function or a module can be compiled")


def _of_module(fn: Module, seen: set[Any]) -> list[Any]:
    found: list[Any] = []
    for module in fn.modules():
        found.append(type(module))
        read = _of_methods(type(module), seen, found)
        for name, value in vars(module).items():
            if type(value) in (bool, int, str, type(None)):
                found += name, type(value), value
            elif isinstance(value, (*_PLAIN, tuple)):
                found += name, plain(value, f"{type(module).__name__}.{name}")
            elif isinstance(value, (np.ndarray, list, dict)) and name not in _TABLES:
                found += name, _contents(value)
            elif name in read and not isinstance(value, (*_FIXED, Module, types.FunctionType, np.random.Generator)):
                plain(value, f"{type(module).__name__}.{name}, which it reads,")
    return found


def _of_methods(kind: type, seen: set[Any], found: list[Any]) -> set[str]:
    """Add what the methods that a call of a user's module runs read; return the names of attributes in them."""
    own = _written(kind)
    names, stack = set[str](), ["forward"] if own else []
    while stack:
        name = stack.pop()
        if name in names:
            continue
        names.add(name)
        for method in (getattr(x, "fget", None) or getattr(x, "__func__", x) for x in (t.get(name) for t in own)):
            if isinstance(method, types.FunctionType):
                # A tensor of a module that it reads is found when it is traced.
                found += _of_function(method, seen, {})
                stack += method.__code__.co_names
    return names


@lru_cache
def _written(kind: type) -> list[Any]:
    """What the classes of the user hold that a class is derived from, itself included."""
    return [vars(base) for base in kind.__mro__ if base.__module__.partition(".")[0] not in ("microtensor", "builtins")]


def _contents(value: Any) -> Any:
    """What plain values and arrays a table holds."""
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_contents, value))
    if isinstance(value, dict):
        return tuple((str(key), _contents(item)) for key, item in value.items())
    if isinstance(value, (np.ndarray, *_PLAIN)):
        return plain_text(value)
    return type(value)


def _of_function(fn: types.FunctionType, seen: set[Any], modules: dict[str, Module]) -> Iterator[Any]:
    if fn in seen or _is_library(fn):
        return
    seen.add(fn)
    yield fn.__code__
    for name, value in _read_by(fn).items():
        if isinstance(value, types.FunctionType):
            yield from _of_function(value, seen, modules)
        elif hasattr(type(value), "source"):
            # A compiled function inside this one is traced with it.
            inner: dict[str, Module] = {}
            yield from settings_of(value.fn, inner)
            modules.update({f"{name}.{k}" if k else name: module for k, module in inner.items()})
        elif isinstance(value, Module):
            yield name
            modules[name] = value
            yield from _of_module(value, seen)
        elif not isinstance(value, _FIXED):
            yield name, plain(value, f"{name!r}, which it reads,")


def _is_library(fn: types.FunctionType) -> bool:
    # What is typed in at a prompt has no file.
    typed = fn.__code__.co_filename.startswith("<")
    return not typed and (fn.__module__ or "").partition(".")[0] in ("microtensor", "numpy")


def _read_by(fn: types.FunctionType) -> dict[str, Any]:
    """What a function reads by name: globals, what it captures, and defaults."""
    names, sets = _names_in(fn.__code__)
    if sets:
        raise Refused(f"it sets {min(sets)!r}, which is not its own")
    read = {name: fn.__globals__[name] for name in names if name in fn.__globals__}
    cells = dict(zip(fn.__code__.co_freevars, map(_content, fn.__closure__ or ()), strict=True))
    return read | cells | (fn.__kwdefaults__ or {}) | {f"in{i}": x for i, x in enumerate(fn.__defaults__ or ())}


def check_primitive(primitive: Primitive[Any]) -> None:
    """Refuse an operation of the user that reads something that may change: no trace shows it."""
    for part in (primitive.forward, *(primitive.rules if isinstance(primitive.rules, tuple) else ())):
        if isinstance(part, types.FunctionType) and any(type(x) is tuple for x in _of_function(part, set(), {})):
            raise Refused(f"the operation {primitive.name} reads a value that may change")


@lru_cache
def _names_in(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global names that a function and the functions inside it read, and the names of others that they set."""
    read, sets, free = set(), set(), code.co_freevars
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            read.add(step.argval)
        elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or (step.opname == "STORE_DEREF" and step.argval in free):
            sets.add(step.argval)
    own = {*code.co_varnames, *code.co_cellvars}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            more, inside = _names_in(constant)
            read |= more
            sets |= inside - own
    return frozenset(read), frozenset(sets)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Not filled yet, or deleted: the function would raise a NameError.
        return None


class Twins:
    """Copies of modules, and of functions that read them, with other tensors in place of parameters and buffers.

    So nobody sees these tensors in what the user has.
    """

    def __init__(self, held: dict[int, Any]) -> None:
        self.held = held
        self.made: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """The copy; anything else is returned as it is."""
        if id(value) in self.made:
            return self.made[id(value)]
        if isinstance(value, Module):
            return self._module(value)
        if isinstance(value, types.FunctionType) and not _is_library(value):
            return self._function(value)
        if hasattr(type(value), "source"):
            twin = self.made[id(value)] = copy.copy(value)
            twin.fn = self.of(value.fn)
            return twin
        return value

    def _module(self, module: Module) -> Module:
        twin = self.made[id(module)] = copy.copy(module)
        for table in (twin._parameters, twin._buffers):
            table.update({name: self.held.get(id(x), x) for name, x in table.items()})
        twin._modules.update({name: self._module_of(child) for name, child in module._modules.items()})
        # A draw for the trace must not be missing in the program of the user.
        drawn = {k: copy.deepcopy(x) for k, x in vars(module).items() if isinstance(x, np.random.Generator)}
        twin.__dict__.update(drawn)
        return twin

    def _module_of(self, child: Module) -> Module:
        found: Module = self.of(child)
        return found

    def _function(self, fn: types.FunctionType) -> types.FunctionType:
        cells = tuple(types.CellType() for _ in fn.__closure__ or ())
        names = dict(fn.__globals__)
        twin = types.FunctionType(fn.__code__, names, fn.__name__, None, cells)
        self.made[id(fn)] = twin
        for cell, old in zip(cells, fn.__closure__ or (), strict=True):
            # A cell may be empty.
            with suppress(ValueError):
                cell.cell_contents = self.of(old.cell_contents)
        names.update({k: self.of(names[k]) for k in _names_in(fn.__code__)[0] if k in names})
        twin.__defaults__ = tuple(map(self.of, fn.__defaults__)) if fn.__defaults__ else None
        twin.__kwdefaults__ = {k: self.of(x) for k, x in (fn.__kwdefaults__ or {}).items()}
        return twin


def _tables(module: Module) -> list[Any]:
    """What a call of a module must not change: its tensors, and the state of its generators."""
    held = [id(x) for m in module.modules() for table in (m._parameters, m._buffers) for x in table.values()]
    drawn = [x for m in module.modules() for x in vars(m).values() if isinstance(x, np.random.Generator)]
    return [*held, *(str(x.bit_generator.state) for x in drawn)]
