"""Modules that hold modules: one after the other, in a list, or under names."""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, SupportsIndex, TypeVar, overload

from microtensor.nn.module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]

S = TypeVar("S", bound="_Ordered")


class _Ordered(Module):
    """What Sequential and ModuleList share: modules in order, by position."""

    def append(self: S, module: Module) -> S:
        """Add a module at the end, with the next free number as its name; returns the container."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: argument {len(self)} is a {type(module).__name__}, not a module")
        # The number of modules is taken already when the container is a slice that kept its names.
        name = next(name for name in map(str, itertools.count(len(self))) if name not in self._modules)
        self.add_module(name, module)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add modules at the end, in order; returns the container."""
        for module in _modules(modules, type(self).__name__):
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, index: slice) -> _Ordered: ...

    @overload
    def __getitem__(self, index: int) -> Module: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._part(dict(list(self._modules.items())[index]))
        return self._modules[self._key(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        for name in names[index] if isinstance(index, slice) else [self._key(index)]:
            del self._modules[name]
        self._renumber(list(self._modules.items()))

    def insert(self: S, index: int, module: Module) -> S:
        """Put a module before the one at the index, or at the end when there is none; returns the container.

        As in PyTorch, modules get new numbers, so that keys of the state change. Names that are not numbers stay.
        PyTorch does not insert among such names, and replaces them by numbers when a module is deleted.
        """
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: a {type(module).__name__} cannot be inserted, only a module")
        items = list(self._modules.items())
        items.insert(operator.index(index), (str(len(items)), module))
        self._renumber(items)
        return self

    def pop(self, index: int = -1) -> Module:
        """Remove the module at the index and return it. Default: the last one. See :meth:`insert` for the names."""
        module = self[operator.index(index)]
        del self[index]
        return module

    def __add__(self: S, other: Iterable[Module]) -> S:
        return copy.copy(self).extend(_modules(other, type(self).__name__))

    def __iadd__(self: S, other: Iterable[Module]) -> S:
        return self.extend(_modules(other, type(self).__name__))

    def _renumber(self, items: list[tuple[str, Module]]) -> None:
        """Hold these modules. Those that had a number get that of their place."""
        self._modules.clear()
        for place, (name, module) in enumerate(items):
            self.add_module(str(place) if name.isdecimal() else name, module)

    def _part(self, modules: dict[str, Module]) -> _Ordered:
        """A container of the same kind with some of the modules."""
        raise NotImplementedError

    def _key(self, index: int) -> str:
        names = list(self._modules)
        if not isinstance(index, SupportsIndex):
            raise TypeError(f"{type(self).__name__}: index {index!r} is of type {type(index).__name__}, not an integer")
        index = operator.index(index)
        if not -len(names) <= index < len(names):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(names)} modules")
        return names[index]


def _modules(given: Any, who: str) -> list[Module]:
    """The modules of another container or list, as a list: a container may be added to itself."""
    if not isinstance(given, Iterable):
        raise TypeError(f"{who}: a {type(given).__name__} cannot be added; give modules in a container or a list")
    return list(given)


class Sequential(_Ordered):
    """Modules one after the other: each gets the output of the one before.

    Parameters
    ----------
    *modules : Module
        Their names are "0", "1", …, as in PyTorch. Or one mapping of names to modules.

    Raises
    ------
    TypeError
        An argument is not a module.

    Examples
    --------
    >>> import microtensor as mt
    >>> net = mt.nn.Sequential(mt.nn.Linear(3, 8), mt.nn.BatchNorm1d(8), mt.nn.ReLU())
    >>> net(mt.ones((4, 3))).shape
    (4, 8)
    >>> net[:2]
    Sequential(
      (0): Linear(3, 8)
      (1): BatchNorm1d(8)
    )
    """

    @overload
    def __init__(self, *modules: Module) -> None: ...

    @overload
    def __init__(self, modules: Mapping[str, Module], /) -> None: ...

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, x: Any) -> Any:
        """The output of the last module."""
        for module in self:
            x = module(x)
        return x

    def _part(self, modules: dict[str, Module]) -> Sequential:
        # Their names stay, as in PyTorch.
        return Sequential(modules)


class ModuleList(_Ordered):
    """A list of modules, for your own ``forward``. Unlike in a plain list, their parameters are found.

    Parameters
    ----------
    modules : iterable of Module

    Raises
    ------
    TypeError
        An element is not a module.

    Examples
    --------
    >>> import microtensor as mt
    >>> layers = mt.nn.ModuleList(mt.nn.Linear(3, 3) for _ in range(2))
    >>> [name for name, _ in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def _part(self, modules: dict[str, Module]) -> ModuleList:
        return ModuleList(modules.values())


class ModuleDict(Module):
    """A dict of modules, for your own ``forward``. Unlike in a plain dict, their parameters are found.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs

    Raises
    ------
    TypeError
        A value is not a module, a name is not a string, or the modules have no names.
    ValueError
        A name is empty, has a dot, or is the name of a method.

    Examples
    --------
    >>> import microtensor as mt
    >>> heads = mt.nn.ModuleDict({"mean": mt.nn.Linear(3, 1), "scale": mt.nn.Linear(3, 1)})
    >>> heads["mean"](mt.ones((4, 3))).shape
    (4, 1)
    """

    def __init__(self, modules: Mapping[str, Module] | ModuleDict | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(() if modules is None else modules)

    def update(self, modules: Mapping[str, Module] | ModuleDict | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or replace those that have the same names."""
        try:
            named: dict[str, Module] = dict(modules)
        except (TypeError, ValueError):
            kind = type(modules).__name__
            raise TypeError(f"ModuleDict: a {kind} gives no names; give a mapping of names to modules") from None
        for name, module in named.items():
            self[name] = module

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Module]:
        """The names with their modules."""
        return self._modules.items()

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def pop(self, name: str) -> Module:
        """Remove the module of that name and return it."""
        return self._modules.pop(name)

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)
