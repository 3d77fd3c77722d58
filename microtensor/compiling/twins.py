"""Copies of what a function reads, so that a trace puts its symbols in the place of nothing that the user has."""

from __future__ import annotations

import copy
import types
from contextlib import suppress
from typing import Any

import numpy as np

from microtensor.compiling.reading import TABLES, Wrapped, is_library, is_written, names_in
from microtensor.nn import Module
from microtensor.support.modes import ModeSwitch


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
        if isinstance(value, types.FunctionType) and not is_library(value):
            return self._function(value)
        if isinstance(value, ModeSwitch):
            # It would keep the scope of the trace.
            return value.fresh()
        if isinstance(value, Wrapped) or is_written(value):
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
        held = {k: self.of(x) for k, x in vars(module).items() if k not in TABLES and isinstance(x, kinds)}
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
        names.update({k: self.of(names[k]) for k in names_in(fn.__code__).read if k in names})
        twin.__defaults__ = tuple(map(self.of, fn.__defaults__)) if fn.__defaults__ else None
        twin.__kwdefaults__ = {k: self.of(x) for k, x in (fn.__kwdefaults__ or {}).items()}
        return twin
