"""How the arguments of a call of an operation are bound: arrays first, then options by position or by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import Parameter
from typing import Any

import numpy as np


def hint(message: str, signature: inspect.Signature) -> str:
    """What to write instead of a keyword that an operation does not take; ``methods.py`` puts a table in its place."""
    return ""


@lru_cache
def signature_of(forward: Callable[..., Any], arity: int | None) -> inspect.Signature:
    """The signature of an operation: `arity` arrays by position alone, then the options of `forward`."""
    if isinstance(forward, np.ufunc):
        names = ["x"] if forward.nin == 1 else ["x1", "x2"]
        given = [Parameter(name, Parameter.POSITIONAL_ONLY) for name in names]
    else:
        given = [p.replace(annotation=Parameter.empty) for p in inspect.signature(forward).parameters.values()]
    arrays = [p.replace(kind=Parameter.POSITIONAL_ONLY) for p in given[: arity or 0]]
    return inspect.Signature([*arrays, *given[arity or 0 :]])


@lru_cache
def _option_names(forward: Callable[..., Any], arity: int) -> list[str]:
    options = list(signature_of(forward, arity).parameters.values())[arity:]
    return [p.name for p in options if p.kind is p.POSITIONAL_OR_KEYWORD]


def bound(operation: Any, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split a call into its arrays and its options by name; options may be given by position.

    Raises
    ------
    TypeError
        The call does not fit the signature, or there are more arrays than rules.
    """
    arity = operation.arity
    options = dict(zip(_option_names(operation.forward, arity), args[arity:], strict=False))
    lost = " and ".join(name for name, x in options.items() if getattr(x, "_requires_grad", False))
    if lost or options.keys() & params or len(options) + arity != len(args):
        check(operation, params, args)
        raise TypeError(f"{operation.name}: no rule for {lost or f'argument {arity}'}; detach it, or give it a rule")
    return args[:arity], options | params


def check(operation: Any, params: dict[str, Any], args: Sequence[Any]) -> None:
    """Raises TypeError unless a call fits the signature."""
    try:
        operation.__signature__.bind(*args, **params)
    except TypeError as error:
        name, signature = operation.name, operation.__signature__
        raise TypeError(f"{name}: {error}; the call is {name}{signature}{hint(str(error), signature)}") from None
