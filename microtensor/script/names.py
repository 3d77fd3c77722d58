"""Names for what a script has made: tensors and modules get those of their variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from microtensor.core.tensor import Tensor
from microtensor.inspect.graph.names import is_by_library
from microtensor.inspect.history import indices_of, with_asides
from microtensor.nn.module import UNNAMED, Module, ModuleScope


def is_a(value: Any, kind: type) -> bool:
    """Like isinstance, but it runs no code of the value, because a proxy may raise an error."""
    return issubclass(type(value), kind)


def name_variables(namespace: Mapping[str, Any]) -> None:
    """Name each tensor and each module after its first variable.

    A name that the user gave stays. A module that is part of another has its name from there. The modules of a list or
    a tuple have the name of its variable and their place.
    """
    seen: set[int] = set()
    for name, value in namespace.items():
        if not is_a(name, str) or id(value) in seen:
            continue
        seen.add(id(value))
        if is_a(value, Tensor) and (value.name is None or is_by_library(value)):
            value.name = name
        elif is_a(value, Module):
            _name_module(value, name)
        elif type(value) in (list, tuple):
            for i, part in enumerate(value):
                if is_a(part, Module):
                    _name_module(part, f"{name}.{i}")
    name_records([value for value in namespace.values() if is_a(value, Tensor)], namespace)


def _name_module(module: Module, name: str) -> None:
    # A module whose __init__ did not call that of Module has no place for a name.
    if vars(module).get("_name") == "":
        module._name = name


def name_records(tensors: Iterable[Tensor], namespace: Mapping[str, Any]) -> None:
    """Give the calls of modules that had no name yet the names that these have now, and indices those of variables."""
    for _, node in with_asides(*tensors):
        for index in indices_of(node):
            if index.name is None:
                index.name = next((name for name, value in namespace.items() if _is_index(value, index)), None)
        for scope in node.scope.chain() if node.scope else ():
            if isinstance(scope, ModuleScope) and scope.name == UNNAMED and scope.module._name:
                scope.name = scope.module._name


def _is_index(value: Any, index: Tensor) -> bool:
    """Whether an index was made from a variable: a tensor that shares its array, or an equal array."""
    if is_a(value, Tensor):
        return value._array is index._array
    return type(value) is np.ndarray and value.dtype == index.dtype and np.array_equal(value, index._array)
