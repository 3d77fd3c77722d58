"""The mode of the program: whether calls are recorded, in which scope, whether they are watched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Scope:
    """A named part of the program, such as ``bn1`` or ``var``. Plain data, linked to the scope around it."""

    __slots__ = ("detail", "name", "parent")

    def __init__(self, name: str, detail: str = "", parent: Scope | None = None) -> None:
        self.name = name
        self.detail = detail
        self.parent = parent

    def __repr__(self) -> str:
        return f"Scope({self.path!r})"

    @property
    def path(self) -> str:
        """The names from the outermost scope to this one, joined by dots."""
        return ".".join(scope.name for scope in reversed(list(self.chain())))

    def chain(self) -> Iterator[Scope]:
        """This scope, then the ones around it, from the inside out."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


class Mode(NamedTuple):
    """The settings that every call reads: recording, scope, watching, what tells its line, keeping graphs.

    `aside`, if there is one, is told of each result that is left without a record, and returns it:
    ``aside(result, operation, inputs, params)``. It is told of each tensor that gets another value: ``aside(tensor)``.
    `tracer`, if there is one, takes each call with a tensor and returns its result:
    ``tracer(operation, inputs, params)``.
    """

    recording: bool = True
    scope: Scope | None = None
    watched: bool = False
    lines: Callable[[], str] | None = None
    keeping: bool = False
    aside: Callable[..., Any] | None = None
    tracer: Callable[..., Any] | None = None


_current: ContextVar[Mode] = ContextVar("microtensor", default=Mode())
# Bound once, because each lookup of a method makes a new object.
current_mode = _current.get


class ModeSwitch:
    """A context manager and decorator that changes the mode. It may be entered again inside itself."""

    def __init__(self) -> None:
        self._tokens: list[Token[Mode]] = []

    def _next(self, mode: Mode) -> Mode:
        raise NotImplementedError

    def fresh(self) -> ModeSwitch:
        return type(self)()

    def __enter__(self) -> ModeSwitch:
        self._tokens.append(_current.set(self._next(current_mode())))
        return self

    def __exit__(self, *raised: object) -> None:
        _current.reset(self._tokens.pop())

    if TYPE_CHECKING:
        # Attached by decorators.py.
        def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...


class no_grad(ModeSwitch):
    """Switch recording off: results made inside have no history and cost no memory.

    It is a context manager and a decorator, also for generator functions. It applies to the current thread or
    asynchronous task, until the block ends. An exception ends the block too.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> with mt.no_grad():
    ...     (w * 3).requires_grad
    False
    """

    def _next(self, mode: Mode) -> Mode:
        return mode._replace(recording=False)


class enable_grad(ModeSwitch):
    """Switch recording on again inside a :class:`no_grad` block.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> with mt.no_grad(), mt.enable_grad():
    ...     (w * 3).requires_grad
    True
    """

    def _next(self, mode: Mode) -> Mode:
        return mode._replace(recording=True)


class detect_anomaly(ModeSwitch):
    """Watch every operation: the first NaN or ∞ raises, and errors name the line that called the operation.

    It raises FloatingPointError when a result is not finite although the inputs are. The message names the operation,
    the shapes and the line. This applies to forward and backward passes. It is slow: use it to find a fault.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([0.0, 1.0], requires_grad=True)
    >>> with mt.detect_anomaly():
    ...     mt.log(x)
    Traceback (most recent call last):
    ...
    FloatingPointError: log: the result of shape (2,) is not finite (inputs (2,))...
    """

    def _next(self, mode: Mode) -> Mode:
        return mode._replace(watched=True, lines=calling_line)


class trace_lines(ModeSwitch):
    """Record for every operation the line of the program that called it.

    An error in backward then names the line. ``microtensor viz`` and ``microtensor check`` use it. It makes small
    operations 50 % slower, so it is off by default.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([1.0], requires_grad=True)
    >>> with mt.trace_lines():
    ...     y = x * 2
    >>> bool(y.node.line)
    True
    """

    def _next(self, mode: Mode) -> Mode:
        return mode._replace(lines=calling_line)


class keep_graphs(ModeSwitch):
    """Make backward keep what a picture needs: the records of the graph that it frees, and the result of each rule.

    A freed graph still cannot be used for another backward.
    """

    def _next(self, mode: Mode) -> Mode:
        return mode._replace(keeping=True)


class name_scope(ModeSwitch):
    """Give a name to the operations recorded inside, so that pictures can frame, fold and unfold them.

    Entering the same object twice continues the same scope; a new object with the same name is a new scope.

    Parameters
    ----------
    name : str
        The title of the frame.
    detail : str, optional
        Muted text beside the title. Modules use their ``repr``.

    Examples
    --------
    >>> import microtensor as mt
    >>> x = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> with mt.name_scope("energy"):
    ...     y = mt.sum(x * x)
    >>> y.node.scope.path
    'energy'
    """

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__()
        self.name = name
        self.detail = detail
        self.scope: Scope | None = None

    def fresh(self) -> name_scope:
        return name_scope(self.name, self.detail)

    def _next(self, mode: Mode) -> Mode:
        if self.scope is None:
            self.scope = Scope(self.name, self.detail, mode.scope)
        # By position: three times as fast as _replace, and every norm enters scopes.
        return Mode(mode.recording, self.scope, mode.watched, mode.lines, mode.keeping, mode.aside, mode.tracer)


def calling_line() -> str:
    """The innermost line outside this package, as ``file:line in function``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "microtensor":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
