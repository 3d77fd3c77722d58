"""How values are shown. Their classes call :func:`shown`, and the rooms that draw register what it calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_registered: dict[str, Callable[..., Any]] = {}


def register(**ways: Callable[..., Any]) -> None:
    """Register functions that show a value: "mimebundle" for notebooks, "text" for print, "show" for ``.show()``.

    Examples
    --------
    >>> from microtensor import showing
    >>> showing.register(loudly=lambda value: f"{value}!")
    >>> showing.shown("loudly", "x")
    'x!'
    """
    _registered.update(ways)


def shown(way: str, *args: Any, **options: Any) -> Any:
    """Show a value with the function that is registered under `way`."""
    return _registered[way](*args, **options)
