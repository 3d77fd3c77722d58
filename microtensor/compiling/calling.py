"""A call of a composition, and what its program depends on: other arguments, settings, the state of a module."""

from __future__ import annotations

import copy
import dis
import inspect
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from microtensor.compiling.trace import Refused, plain_text
from microtensor.core.primitive import Primitive, TensorBase
from microtensor.core.tensor import Tensor
from microtensor.creation import get_default_dtype
from microtensor.nn import Module

# What their functions read does not count, nor do values in the first two.
_FIXED_PACKAGES = ("microtensor", "numpy")
_LIBRARIES = frozenset((*_FIXED_PACKAGES, *sys.stdlib_module_names))
_TABLES = frozenset(("_parameters", "_buffers", "_modules", "_transient"))
_PLAIN = (int, float, bool, str, type(None), np.generic, np.dtype)
# What a program may name: its contents do not change, or it is traced itself.
_FIXED = (types.ModuleType, types.BuiltinFunctionType, type, np.ufunc, Primitive, TensorBase)
_CALLED = frozenset((types.BuiltinFunctionType, np.ufunc, Primitive))


class Wrapped:
    """A compiled function: one that is read inside another one is traced with it."""

    fn: Any


class Call:
    """A call of the composition: which of its arguments are tensors, and what the others are.

    Attributes
    ----------
    tensors : list of Tensor
    state : dict
        The parameters and buffers that it reads, by name; each of them once.
    settings : list
        The plain values that it reads.
    owners : dict
        The modules, and the objects of the user's classes, that it reads, by name.
    """

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.fn, self.args, self.options = fn, args, options
        self.tensors: list[Any] = [x for x in (*args, *options.values()) if isinstance(x, TensorBase)]
        self.owners: dict[str, Any] = {}
        self.settings = list(settings_of(fn, self.owners))
        self.state: dict[str, Tensor] = {}
        seen: set[int] = set()
        for prefix, owner in self.owners.items():
            for name, x in (*owner.named_parameters(), *owner.named_buffers()) if isinstance(owner, Module) else ():
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
        if not self.owners:
            return self.on(list(leaves))
        twins = Twins(dict(zip(map(id, self.state.values()), leaves[count:], strict=True)))
        twin = twins.of(self.fn)
        owners = list(map(twins.of, self.owners.values()))
        before = list(map(_held_by, owners))
        found = self.on(list(leaves[:count]), twin)
        if before != list(map(_held_by, owners)):
            raise Refused("a module or an object sets one of its attributes when it is called, or draws numbers")
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


def settings_of(fn: Any, owners: dict[str, Any]) -> Iterator[Any]:
    """The plain values that a function or a module reads: they belong to a program. Fills in their owners, by name."""
    if not isinstance(fn, (Module, types.FunctionType, types.MethodType, Primitive)) and not _is_written(fn):
        raise Refused(f"it is a {type(fn).__name__}; only a function, a method or a module can be compiled")
    yield from _of_named("", fn, set(), owners, ())


def _of_named(name: str, value: Any, seen: set[Any], owners: dict[str, Any], read: Collection[str]) -> Iterator[Any]:
    """What a value that a function reads adds to the settings; `read` are the attributes that the function names."""
    if isinstance(value, types.MethodType):
        method: Any = value.__func__
        yield from _of_function(method, seen, owners)
        yield from _of_named(name or "self", value.__self__, seen, owners, method.__code__.co_names)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value, seen, owners)
    elif isinstance(value, Wrapped):
        # A compiled function inside this one is traced with it.
        yield from _of_named(name, value.fn, seen, owners, read)
    elif isinstance(value, Module):
        yield name
        owners[name] = value
        yield from _of_module(value, seen)
    elif isinstance(value, types.ModuleType):
        key = id(value), frozenset(read)
        if value.__name__.partition(".")[0] not in _FIXED_PACKAGES and key not in seen:
            seen.add(key)
            for attribute in sorted(vars(value).keys() & read):
                yield attribute
                yield from _of_named(f"{name}.{attribute}", vars(value)[attribute], seen, owners, read)
    elif isinstance(value, type):
        methods: list[Any] = []
        _of_methods(value, seen, methods, list(read), owners)
        yield from methods
    elif _is_written(value):
        yield name
        key = id(value), frozenset(read)
        if key not in seen:
            seen.add(key)
            owners[name] = value
            yield from _of_object(name, value, seen, owners, read)
    elif not isinstance(value, _FIXED):
        yield name, plain(value, f"{name!r}, which it reads,")


def _of_object(name: str, value: Any, seen: set[Any], owners: dict[str, Any], read: Collection[str]) -> Iterator[Any]:
    """What an object of a user's class holds. Of what is not plain, only what its reader or its methods name counts."""
    kind: Any = type(value)
    methods: list[Any] = [kind]
    read = {*read, *_of_methods(kind, seen, methods, ["__call__", *read], owners)}
    yield from methods
    for attribute, x in vars(value).items():
        if isinstance(x, (np.ndarray, list, dict)):
            yield attribute, _contents(x)
        elif attribute in read or isinstance(x, _PLAIN):
            yield attribute
            yield from _of_named(f"{name}.{attribute}" if name else attribute, x, seen, owners, read)


def _of_module(fn: Module, seen: set[Any]) -> list[Any]:
    found: list[Any] = []
    for module in fn.modules():
        found.append(type(module))
        read = _of_methods(type(module), seen, found, ["forward"])
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


class _Reach(NamedTuple):
    """Some methods of a class, and those that they name: found once, as long as the class has the same ones."""

    held: list[tuple[Any, str, Any]]
    functions: list[types.FunctionType]
    values: list[tuple[str, Any]]
    names: set[str]


_reached: WeakKeyDictionary[type, dict[frozenset[str], _Reach]] = WeakKeyDictionary()


def _of_methods(
    kind: type, seen: set[Any], found: list[Any], start: Iterable[str], owners: dict[str, Any] | None = None
) -> set[str]:
    """Add what some methods of a user's class, and those that they name, read; return the attributes that they name."""
    if not _written(kind):
        return set()
    table, start = _reached.setdefault(kind, {}), frozenset(start)
    reach = table.get(start)
    if reach is None or any(held.get(name) is not x for held, name, x in reach.held):
        reach = table[start] = _reach(kind, start)
    for method in reach.functions:
        # A tensor of a module that it reads is found when it is traced.
        found += _of_function(method, seen, {})
    for name, x in reach.values:
        if isinstance(x, (np.ndarray, list, dict)):
            found += name, _contents(x)
        else:
            found += _of_named(f"{kind.__name__}.{name}", x, seen, {} if owners is None else owners, reach.names)
    return reach.names


def _reach(kind: type, start: frozenset[str]) -> _Reach:
    own, stack, reach = _written(kind), list(start), _Reach([], [], [], set())
    while stack:
        name = stack.pop()
        if name in reach.names:
            continue
        reach.names.add(name)
        found = [(held, name, held.get(name)) for held in own]
        if all(x is None for _, _, x in found):
            continue
        reach.held.extend(found)
        for method in (getattr(x, "fget", None) or getattr(x, "__func__", x) for _, _, x in found):
            if isinstance(method, types.FunctionType):
                reach.functions.append(method)
                stack += method.__code__.co_names
            elif method is not None and not isinstance(method, (*_FIXED, Module)):
                reach.values.append((name, method))
    return reach


@lru_cache
def _written(kind: type) -> list[Any]:
    """What the classes of the user hold that a class is derived from, itself included."""
    return [vars(base) for base in kind.__mro__ if base.__module__.partition(".")[0] not in ("microtensor", "builtins")]


class _Bare:
    """An object that holds nothing but its attributes is as large as one of this class."""


def _is_written(value: Any) -> bool:
    """Whether a value is an object of a user's class that holds nothing but its attributes."""
    kind: Any = type(value)
    if kind is types.SimpleNamespace:
        return True
    known = (*_FIXED, *_PLAIN, tuple, list, dict, set, Module, types.FunctionType)
    bare = hasattr(value, "__dict__") and kind.__basicsize__ == _Bare.__basicsize__
    return bare and not isinstance(value, known) and bool(_written(kind))


def _contents(value: Any) -> Any:
    """What plain values and arrays a table holds."""
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(_contents, value))
    if isinstance(value, dict):
        return tuple((str(key), _contents(item)) for key, item in value.items())
    if isinstance(value, (np.ndarray, *_PLAIN)):
        return plain_text(value)
    return type(value)


def _of_function(fn: types.FunctionType, seen: set[Any], owners: dict[str, Any]) -> Iterator[Any]:
    if fn in seen or _is_library(fn):
        return
    seen.add(fn)
    yield fn.__code__
    for name, value in _read_by(fn).items():
        if type(value) not in _CALLED:
            yield from _of_named(name, value, seen, owners, fn.__code__.co_names)


def _is_library(fn: types.FunctionType) -> bool:
    # What is typed in at a prompt has no file.
    typed = fn.__code__.co_filename.startswith("<")
    return not typed and (fn.__module__ or "").partition(".")[0] in _LIBRARIES


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
        twin: Any
        if id(value) in self.made:
            return self.made[id(value)]
        if isinstance(value, Module):
            return self._module(value)
        if isinstance(value, types.MethodType):
            return types.MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, types.FunctionType) and not _is_library(value):
            return self._function(value)
        if isinstance(value, Wrapped) or _is_written(value):
            twin = self.made[id(value)] = copy.copy(value)
            twin.__dict__.update({name: self.of(x) for name, x in vars(value).items()})
            return twin
        if isinstance(value, (list, dict, set, np.ndarray)):
            # A call may append to a list.
            twin = self.made[id(value)] = copy.copy(value)
            if isinstance(value, list):
                twin[:] = map(self.of, value)
            elif isinstance(value, dict):
                twin.update({key: self.of(x) for key, x in value.items()})
            return twin
        return value

    def _module(self, module: Module) -> Module:
        twin = self.made[id(module)] = copy.copy(module)
        for table in (twin._parameters, twin._buffers):
            table.update({name: self.held.get(id(x), x) for name, x in table.items()})
        twin._modules.update({name: self._module_of(child) for name, child in module._modules.items()})
        # A draw for the trace must not be missing in the program of the user.
        drawn = {k: copy.deepcopy(x) for k, x in vars(module).items() if isinstance(x, np.random.Generator)}
        kinds = (list, dict, set, np.ndarray)
        held = {k: self.of(x) for k, x in vars(module).items() if k not in _TABLES and isinstance(x, kinds)}
        twin.__dict__.update(held | drawn)
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


def _held_by(owner: Any) -> list[Any]:
    """What a call must not change: the attributes of a module or an object, tensors, and the state of generators."""
    if not isinstance(owner, Module):
        return [(name, id(x), _contents(x)) for name, x in vars(owner).items()]
    held = [id(x) for m in owner.modules() for table in (m._parameters, m._buffers) for x in table.values()]
    drawn = [x for m in owner.modules() for x in vars(m).values() if isinstance(x, np.random.Generator)]
    return [_of_module(owner, set()), *held, *(str(x.bit_generator.state) for x in drawn)]
