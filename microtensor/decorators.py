"""Modes as decorators: of functions, generators, coroutines and asynchronous generators; and whether one records."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from typing import Any, ParamSpec, TypeVar, cast

from microtensor.support.modes import ModeSwitch, current_mode, detect_anomaly, enable_grad, no_grad, trace_lines

P = ParamSpec("P")
R = TypeVar("R")


class _Steps(Generator[Any, Any, Any]):
    """A generator whose body runs in another mode. Each yield restores the earlier mode."""

    def __init__(self, body: Generator[Any, Any, Any], switch: ModeSwitch) -> None:
        self.body = body
        self.switch = switch

    def send(self, value: Any) -> Any:
        with self.switch.fresh():
            return self.body.send(value)

    def throw(self, *error: Any) -> Any:
        with self.switch.fresh():
            return self.body.throw(*error)


def decorate(switch: ModeSwitch, function: Callable[P, R]) -> Callable[P, R]:
    """Make a function run in another mode.

    A decorated asynchronous generator does not receive the values of ``asend``.

    Examples
    --------
    >>> import microtensor as mt
    >>> @mt.no_grad()
    ... def twice(x):
    ...     return x * 2
    >>> twice(mt.tensor([1.0], requires_grad=True)).requires_grad
    False

    The brackets may be left out: ``@mt.no_grad``.
    """
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
            return (yield from _Steps(function(*args, **kwargs), switch))

        return cast("Callable[P, R]", generator)

    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def asynchronous_generator(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, None]:
            async with aclosing(function(*args, **kwargs)) as body:
                while True:
                    with switch.fresh():
                        try:
                            value = await anext(body)
                        except StopAsyncIteration:
                            return
                    yield value

        return cast("Callable[P, R]", asynchronous_generator)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with switch.fresh():
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", coroutine)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with switch.fresh():
            return function(*args, **kwargs)

    return wrapper


def is_grad_enabled() -> bool:
    """Whether operations are recorded here: False inside :class:`no_grad`.

    Examples
    --------
    >>> import microtensor as mt
    >>> with mt.no_grad():
    ...     mt.is_grad_enabled()
    False
    """
    return current_mode().recording


def _new(kind: type[ModeSwitch], function: Callable[..., Any] | None = None) -> Any:
    """A mode; or, as ``@mt.no_grad`` without brackets, a function that runs in one."""
    made = object.__new__(kind)
    if function is None:
        return made
    if not callable(function):
        raise TypeError(f"{kind.__name__}: got {function!r}; it takes no argument, or the function that it decorates")
    made.__init__()  # type: ignore[misc]
    return decorate(made, function)


for _kind in (no_grad, enable_grad, detect_anomaly, trace_lines):
    _kind.__new__ = staticmethod(_new)  # type: ignore[assignment]
ModeSwitch.__call__ = decorate  # type: ignore[method-assign, assignment]
