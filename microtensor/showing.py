"""How values are shown: asked for by the classes that are shown, and answered by the rooms that draw, above them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_registered: dict[str, Callable[..., Any]] = {}


def register(**ways: Callable[..., Any]) -> None:
    """Say what shows a value: "mimebundle" in a notebook, "text" when it is printed, "show" when it is asked for.

    Examples
    --------
    >>> from microtensor import showing
    >>> showing.register(loudly=lambda value: f"{value}!")
    >>> showing.shown("loudly", "x")
    'x!'
    """
    _registered.update(ways)


def shown(way: str, *args: Any, **options: Any) -> Any:
    """What the registered way makes of a value."""
    return _registered[way](*args, **options)
