"""Finds the tensor whose gradient is wanted: by its name, by the scope that it enters, or as the only candidate."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from microtensor.core.tensor import Tensor
from microtensor.creation import Parameter
from microtensor.inspect.history import history, is_detached
from microtensor.support.modes import Scope
from microtensor.text import safe_text


def input_of(y: Tensor, name: str | None = None) -> Tensor:
    """Find a tensor in the history of y by its name; default: the only candidate.

    The name may also be that of a scope. Then the tensor that enters the scope is returned. Without a name, the
    candidates are the data that require a gradient. If there are none, all data are candidates. If there are no data,
    the candidates are the leaves that require a gradient.

    Raises
    ------
    TypeError
        y is not a tensor.
    ValueError
        No tensor or scope has this name, or several tensors have it. Without a name: there is no candidate, or there
        are several.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.ledger import input_of
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> input_of(mt.tanh(x).sum()).name
    'x'
    """
    check_ends(y)
    leaves, results, scopes = _history(y)
    if name is not None:
        return _named(name, leaves, results, scopes)
    data = [x for x in leaves if not isinstance(x, Parameter) and not is_detached(x)]
    for candidates in ([x for x in data if x.requires_grad], data, [x for x in leaves if x.requires_grad]):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            break
    if not leaves:
        raise ValueError(f"paths: y of shape {y.shape} has no history, so there is nothing before it")
    listed = _listed([*(x.name for x in leaves if x.name), *_by_path(scopes)])
    raise ValueError(f"paths: several tensors could be x; choose one{f': {listed}' if listed else ' and pass it'}")


def check_ends(y: object, x: object = None) -> None:
    """Raise a TypeError if y is not a tensor, or if x is given and is not a tensor of floats.

    Examples
    --------
    >>> import microtensor as mt
    >>> from microtensor.inspect.ledger.inputs import check_ends
    >>> check_ends(mt.tensor([1.0]))
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"paths: y is a {type(y).__name__}; it must be a tensor that was computed from x")
    if x is None:
        return
    if not isinstance(x, Tensor):
        hint = f"; microtensor.ledger.input_of(y, {x!r}) finds one by its name" if isinstance(x, str) else ""
        raise TypeError(f"paths: x is a {type(x).__name__}; it must be one tensor that y was computed from{hint}")
    if x.dtype.kind != "f":
        raise TypeError(f"paths: x has dtype {x.dtype}; it must be a tensor of floats, which has a gradient")


def _history(y: Tensor) -> tuple[list[Tensor], list[Tensor], dict[Scope, Tensor]]:
    """The leaves of floats, the results, and the tensor that enters each scope, in the order of the program."""
    leaves: dict[Tensor, None] = {}
    scopes: dict[Scope, Tensor] = {}
    records = history(y)
    for _, node in records:
        inputs = [x for x in node.inputs if isinstance(x, Tensor) and x.dtype.kind == "f"]
        leaves.update((x, None) for x in inputs if x.is_leaf)
        entering = [x for x in inputs if not isinstance(x, Parameter)]
        for scope in node.scope.chain() if node.scope and entering else ():
            if scope in scopes:
                # All scopes around it are there too.
                break
            scopes[scope] = entering[0]
    return list(leaves), [result for result, _ in records], scopes


def _by_path(scopes: dict[Scope, Tensor]) -> dict[str, Tensor]:
    """The tensor that enters the first scope with each dotted path."""
    found: dict[str, Tensor] = {}
    for scope, entering in scopes.items():
        found.setdefault(scope.path, entering)
    return found


def _named(name: str, leaves: list[Tensor], results: list[Tensor], scopes: dict[Scope, Tensor]) -> Tensor:
    for group in (leaves, results):
        found = [x for x in group if x.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f"paths: {len(found)} tensors are called {name!r}; name the scope instead: {_listed(_by_path(scopes))}"
            )
    entering = _by_path(scopes)
    if name in entering:
        return entering[name]
    names = [*(x.name for x in [*leaves, *results] if x.name), *entering]
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {_listed(names)}"
    raise ValueError(f"paths: nothing before y is called {name!r}; {hint}")


def _listed(names: Iterable[str], most: int = 12) -> str:
    distinct = list(dict.fromkeys(names))
    rest = f" and {len(distinct) - most} more" if len(distinct) > most else ""
    return ", ".join(map(safe_text, distinct[:most])) + rest
