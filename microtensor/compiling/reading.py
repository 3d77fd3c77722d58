"""What a function reads by name: plain values, modules and objects. They belong to its program."""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from microtensor.compiling.trace import Refused, plain_text
from microtensor.core.primitive import Primitive, TensorBase
from microtensor.core.tensor import Tensor
from microtensor.nn import Module
from microtensor.support.modes import ModeSwitch

# Nothing in the first ones changes, and what functions of all these read does not either.
_FIXED_PACKAGES = ("microtensor", "numpy")
_LIBRARIES = frozenset((*_FIXED_PACKAGES, *sys.stdlib_module_names))
TABLES = ("_parameters", "_buffers", "_modules")
_PLAIN = (int, float, bool, str, type(None), np.generic, np.dtype)
_DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType)
# What a program may name: its contents do not change, or it is traced itself.
_CALLED = (types.BuiltinFunctionType, np.ufunc, Primitive)
_NAMED = (types.ModuleType, type, *_CALLED)
_FIXED = (*_NAMED, TensorBase)
_CHANGING = (np.ndarray, list, dict)
# With these a function may read what its code does not name: attributes of any name, or anything.
_ANY_ATTRIBUTE = frozenset(("getattr", "vars", "__dict__", "attrgetter", "__getattribute__"))
_ANYTHING = frozenset(("eval", "exec", "globals", "locals"))
# What these do would not be done again, or would be another thing each time.
_EFFECTS = frozenset(("print", "input", "open", "breakpoint"))
_CHANGING_MODULES = frozenset(("datetime", "logging", "random", "time"))
# Of the methods that Python calls by itself, those that take no part in a computation.
_ASIDE = frozenset(("__init__", "__new__", "__del__", "__repr__", "__init_subclass__", "__reduce__", "__reduce_ex__"))


class Wrapped:
    """A compiled function: one that is read inside another one is traced with it."""

    fn: Any


class Settings:
    """The plain values that a function reads, as a part of a key: they are hashed once."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values, self.hash = values, hash(values)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.values == other.values


class Reading:
    """What a function reads by name. It is found once, and holds until something is another one where it was found.

    Parameters
    ----------
    fn
        The function, method, module, or object that is called.
    whole : bool
        Whether each attribute of what it reads has to stay, and not only those that it reads. Default: False.

    Attributes
    ----------
    settings : Settings
    owners : dict
        The modules, and the objects of the user's classes, by name.
    state : dict
        The parameters and buffers of the modules, by name; each of them once.

    Raises
    ------
    Refused
        It reads what may change without a sign, or it is no function, method or module.
    """

    def __init__(self, fn: Any, whole: bool = False) -> None:
        if not isinstance(fn, (Module, types.FunctionType, types.MethodType, Primitive)) and not is_written(fn):
            raise Refused(f"it is a {type(fn).__name__}; only a function, a method or a module can be compiled")
        self.fn, self.whole = fn, whole
        self.owners: dict[str, Any] = {}
        self.state: dict[str, Tensor] = {}
        self._values: list[Any] = []
        self._seen: dict[Any, int] = {}
        # How to look again, and what was found: the same object, or an equal value.
        self._same: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = []
        self._equal: list[tuple[Callable[[Any], Any], Any, Any]] = []
        self._named("", fn, ())
        known: set[int] = set()
        for prefix, owner in self.owners.items():
            for name, x in (*owner.named_parameters(), *owner.named_buffers()) if isinstance(owner, Module) else ():
                if id(x) not in known:
                    known.add(id(x))
                    self.state[f"{prefix}.{name}" if prefix else name] = x
        self.settings = Settings((*self.state, *self._values))

    def holds(self) -> bool:
        """Whether all that was read is still the same."""
        for look, place, found in self._same:
            if look(*place) is not found:
                return False
        return all(look(x) == found for look, x, found in self._equal)

    def _look(self, look: Callable[..., Any], *place: Any) -> Any:
        found = look(*place)
        self._same.append((look, place, found))
        return found

    def _value(self, look: Callable[[Any], Any], x: Any) -> Any:
        found = look(x)
        self._equal.append((look, x, found))
        return found

    def _table(self, held: Mapping[str, Any]) -> Mapping[str, Any]:
        """A table that may neither lose a name nor get one. Which of its values have to stay is up to its reader."""
        self._value(_kinds, held)
        if self.whole:
            for name in held:
                self._look(held.get, name)
        return held

    def _again(self, key: Any) -> bool:
        """Whether it was read before. Which one it was belongs to the settings."""
        known = key in self._seen
        self._values.append(self._seen.setdefault(key, len(self._seen)))
        return known

    def _named(self, name: str, value: Any, read: Collection[str]) -> None:
        """Add what a value that a function reads stands for; `read` are the attributes that the function names."""
        if isinstance(value, types.MethodType):
            method: Any = value.__func__
            self._function(method)
            self._named(name or "self", value.__self__, names_in(method.__code__).named)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, Wrapped):
            # A compiled function inside this one is traced with it.
            self._named(name, self._look(getattr, value, "fn"), read)
        elif isinstance(value, functools.partial):
            self._named(name, value.func, read)
            for part in (list(value.args), value.keywords):
                self._items(name, part, read)
        elif isinstance(value, ModeSwitch):
            # The names of a scope, or none.
            self._values += type(value), *(self._look(getattr, value, x, None) for x in ("name", "detail"))
        elif isinstance(value, type):
            self._values.append(value)
            if not self._again((value, frozenset(read))):
                self._methods(value, ["__init__", "__new__", *read])
        elif isinstance(value, types.ModuleType):
            if not self._again((value, frozenset(read))):
                self._imported(name, value, read)
        elif isinstance(value, Module) or is_written(value):
            key = id(value), frozenset(read), name if isinstance(value, Module) else ""
            if not self._again(key):
                self._owner(name, value, read)
        elif not isinstance(value, _FIXED):
            self._values.append((name, plain(value, f"{name!r}, which it reads,")))
        elif not isinstance(value, TensorBase):
            self._called(value)

    def _called(self, value: Any) -> None:
        """Add what has no parts that change: an operation, or a function of a library."""
        if (getattr(value, "__module__", None) or "").partition(".")[0] in _CHANGING_MODULES:
            raise Refused(f"it names {value.__module__}.{value.__name__}, which a program would not call")
        owner = getattr(value, "__self__", None)
        if isinstance(value, types.BuiltinFunctionType) and not isinstance(owner, (*_PLAIN, types.ModuleType, type)):
            raise Refused(f"it names {value.__name__} of a {type(owner).__name__}, which a program would not call")
        self._values.append(value)

    def _imported(self, name: str, value: types.ModuleType, read: Collection[str]) -> None:
        """Add what an imported module holds under the names that are read."""
        package, names = value.__name__.partition(".")[0], set(read)
        if value.__name__ == "numpy.random" or (value is np and "random" in read):
            raise Refused("it names np.random, which a program would not call")
        if package in _FIXED_PACKAGES:
            return
        if package not in _LIBRARIES and not _ANY_ATTRIBUTE.isdisjoint(read):
            names.update(x for x in vars(value) if not x.startswith("__"))
        for attribute in sorted(names):
            x = self._look(vars(value).get, attribute)
            if attribute in vars(value):
                self._values.append(attribute)
                self._named(f"{name}.{attribute}", x, read)

    def _owner(self, name: str, value: Any, read: Collection[str]) -> None:
        """Add what a module of layers or an object holds."""
        while self.owners.get(name, value) is not value:
            # Functions of two files may give one name to two things.
            name += "_"
        self.owners[name] = value
        self._values.append(name)
        if isinstance(value, Module):
            read = {"forward", *read}
            for path, module in value.named_modules():
                # A parent, which comes first, may call any method of its children.
                read |= self._module(".".join(filter(None, (name, path))), module, read)
        else:
            self._object(name, value, read)

    def _module(self, prefix: str, module: Module, start: Collection[str]) -> set[str]:
        """Add what one module holds, and what its methods read; return what these name."""
        kind, held = self._look(type, module), self._table(vars(module))
        self._values.append(kind)
        read = self._methods(kind, start)
        if not _ANY_ATTRIBUTE.isdisjoint(read):
            read.update(held.keys() - {"_transient"})
        for name in TABLES:
            table = self._table(self._look(held.get, name))
            for key in table:
                self._look(table.get, key)
        for name, x in held.items():
            if isinstance(x, (*_PLAIN, tuple)):
                self._values += name, plain(self._look(held.get, name), f"{kind.__name__}.{name}")
            elif isinstance(x, _CHANGING) and name not in TABLES:
                self._values += name, self._value(contents, self._look(held.get, name))
                if name in read:
                    self._items(f"{prefix}.{name}" if prefix else name, x, read)
            elif isinstance(x, np.random.Generator):
                if self.whole:
                    self._value(_drawn, x)
            elif isinstance(x, (*_NAMED, types.FunctionType)):
                self._values.append(name)
                self._named(name, self._look(held.get, name), read)
            elif name in read and not isinstance(x, (Module, TensorBase)) and name not in TABLES:
                plain(x, f"{kind.__name__}.{name}, which it reads,")
        return read

    def _object(self, name: str, value: Any, read: Collection[str]) -> None:
        """Add what an object of a user's class holds. Of what is not plain, only what its reader or methods name."""
        kind, held = self._look(type, value), self._table(vars(value))
        self._values.append(kind)
        read = {*read, *self._methods(kind, read)}
        if not _ANY_ATTRIBUTE.isdisjoint(read):
            read.update(held)
        for attribute, x in held.items():
            if attribute in read or isinstance(x, (*_PLAIN, *_NAMED)):
                self._values.append(attribute)
                self._items(f"{name}.{attribute}" if name else attribute, self._look(held.get, attribute), read)
            elif self.whole:
                self._value(contents, x)

    def _items(self, name: str, value: Any, read: Collection[str]) -> None:
        """Add a value, or what is in a list or a dictionary."""
        if not isinstance(value, _CHANGING):
            self._named(name, value, read)
            return
        self._values.append(self._value(contents, value))
        for key in () if isinstance(value, np.ndarray) else value if isinstance(value, dict) else range(len(value)):
            x = self._look(_item, value, key)
            if not isinstance(x, _PLAIN):
                self._items(f"{name}.{key}", x, read)

    def _methods(self, kind: type, start: Collection[str]) -> set[str]:
        """Add what some methods of a user's class, and those that they name, read; return what they name."""
        own, names = list(map(self._table, written(kind))), set[str]()
        methods = (name for held in own for name, x in held.items() if isinstance(x, types.FunctionType))
        stack, values = [*start, *(name for name in methods if name.startswith("__") and name not in _ASIDE)], []
        while own and stack:
            name = stack.pop()
            if name in names:
                continue
            names.add(name)
            if name in _ANY_ATTRIBUTE:
                stack += {x for held in own for x in held} - _ASIDE
            for held in own:
                x = self._look(held.get, name) if name in held else None
                # Of a property, of one that is computed once, or of a class.
                method = getattr(x, "fget", None) or getattr(x, "func", None) or getattr(x, "__func__", x)
                if isinstance(method, types.FunctionType):
                    self._function(method)
                    stack += () if is_library(method) else names_in(method.__code__).named
                elif method is not None and not isinstance(method, (Module, *_DESCRIPTORS)):
                    values.append((name, method))
        for name, x in values:
            self._items(f"{kind.__name__}.{name}", x, names)
        return names

    def _function(self, fn: types.FunctionType) -> None:
        """Add what a function reads by name: globals, what it captures, and defaults."""
        if is_library(fn):
            self._called(fn)
            return
        if self._again(fn):
            return
        code = self._look(getattr, fn, "__code__")
        self._values.append(code)
        names = names_in(code)
        if names.sets:
            raise Refused(f"it sets {min(names.sets)!r}, which is not its own")
        python = names.read - fn.__globals__.keys()
        if hidden := python & _ANYTHING:
            raise Refused(f"it calls {min(hidden)}, which may read anything")
        if effects := python & _EFFECTS:
            raise Refused(f"it calls {min(effects)}, which a program would not do")
        # A name of Python's may become a global one later.
        read = {x: self._look(fn.__globals__.get, x) for x in names.read}
        read = {x: value for x, value in read.items() if x in fn.__globals__}
        for module in names.imported:
            if module not in sys.modules:
                raise Refused(f"it imports {module}; an import at the top of its file can be followed")
            read[module] = self._look(sys.modules.get, module)
        read |= {x: self._look(_content, c) for x, c in zip(code.co_freevars, fn.__closure__ or (), strict=True)}
        options = self._look(getattr, fn, "__kwdefaults__") or {}
        read |= {name: self._look(options.get, name) for name in self._table(options)}
        read |= {f"in{i}": x for i, x in enumerate(self._look(getattr, fn, "__defaults__") or ())}
        for name, value in read.items():
            self._named(name, value, names.named)


def plain(x: Any, what: str) -> Any:
    """A value that cannot change, as a part of a key. 1, 1.0 and True are different; NaN is equal to itself."""
    if isinstance(x, _PLAIN):
        return type(x), repr(x)
    if isinstance(x, _CALLED) or (isinstance(x, type) and not written(x)):
        return x
    if isinstance(x, (tuple, range)):
        return type(x), tuple(plain(item, what) for item in x)
    raise Refused(f"{what} is a {type(x).__name__}, which may change between two calls; pass a tensor or a plain value")


def contents(value: Any) -> Any:
    """What plain values and arrays a table holds."""
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(contents, value))
    if isinstance(value, _NAMED):
        return value
    if isinstance(value, dict):
        return tuple((str(key), contents(item)) for key, item in value.items())
    if isinstance(value, (np.ndarray, *_PLAIN)):
        return plain_text(value)
    return type(value)


def check_primitive(primitive: Primitive[Any]) -> None:
    """Refuse an operation of the user that reads something that may change: no trace shows it."""
    for part in (primitive.forward, *(primitive.rules if isinstance(primitive.rules, tuple) else ())):
        if isinstance(part, types.FunctionType) and any(type(x) is tuple for x in Reading(part).settings.values):
            raise Refused(f"the operation {primitive.name} reads a value that may change")


def is_library(fn: types.FunctionType) -> bool:
    """Whether nobody but a library or Python changes what a function reads."""
    # What is typed in at a prompt has no file.
    typed = fn.__code__.co_filename.startswith("<")
    return not typed and (fn.__module__ or "").partition(".")[0] in _LIBRARIES


class _Bare:
    """An object that holds nothing but its attributes is as large as one of this class."""


def is_written(value: Any) -> bool:
    """Whether a value is an object of a user's class, or a namespace, and holds nothing but its attributes."""
    kind: Any = type(value)
    known = (*_FIXED, *_PLAIN, tuple, list, dict, set, Module, types.FunctionType)
    if (kind.__module__, kind.__name__) in (("types", "SimpleNamespace"), ("argparse", "Namespace")):
        return True
    bare = hasattr(value, "__dict__") and kind.__basicsize__ == _Bare.__basicsize__
    return bare and not isinstance(value, known) and kind.__module__.partition(".")[0] not in _LIBRARIES


@functools.lru_cache
def written(kind: type) -> list[Mapping[str, Any]]:
    """What the classes of the user hold that a class is derived from, itself included."""
    return [vars(base) for base in kind.__mro__ if base.__module__.partition(".")[0] not in _LIBRARIES]


class Names(NamedTuple):
    """The names in a function, and in the functions inside it.

    Attributes
    ----------
    read, sets : frozenset of str
        Those of others that are read, and that are set.
    named : frozenset of str
        All, with those of attributes.
    imported : frozenset of str
    """

    read: frozenset[str]
    sets: frozenset[str]
    named: frozenset[str]
    imported: frozenset[str]


@functools.lru_cache
def names_in(code: types.CodeType) -> Names:
    """The names in the code of a function."""
    read, sets, named, imported = set[str](), set[str](), set(code.co_names), set[str]()
    free = code.co_freevars
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read.add(step.argval)
        elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or (step.opname == "STORE_DEREF" and step.argval in free):
            sets.add(step.argval)
        elif step.opname == "IMPORT_NAME":
            imported |= {step.argval, step.argval.partition(".")[0]}
    own = {*code.co_varnames, *code.co_cellvars}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inside = names_in(constant)
            read |= inside.read
            sets |= inside.sets - own
            named |= inside.named
            imported |= inside.imported
    return Names(frozenset(read), frozenset(sets), frozenset(named), frozenset(imported))


def _kinds(held: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*held, *map(type, held.values()))


def _item(held: Any, key: Any) -> Any:
    try:
        return held[key]
    except LookupError:
        return None


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Not filled yet, or deleted: the function would raise a NameError.
        return None


def _drawn(generator: np.random.Generator) -> str:
    return str(generator.bit_generator.state)
