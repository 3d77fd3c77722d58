"""What an operation is: a NumPy function, one derivative rule per argument, and the record of a call.

Nothing here knows a particular operation. :class:`Primitive` is the operation, :class:`Node` the record of
one call of it, :class:`Traced` the part of a tensor that the engine needs, and :class:`Scope` the place in
the program where the call was made. The tensor type itself lives one room up and hands itself in through
:func:`use_tensor_type`.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing
from contextvars import ContextVar, Token
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from microtensor.support.arrays import Array, own_array
from microtensor.support.quiet import IGNORED, get_errors, set_errors
from microtensor.support.text import safe_text

if TYPE_CHECKING:
    from microtensor.tensor import Tensor

Rule: TypeAlias = Callable[..., Any]
P = ParamSpec("P")
R = TypeVar("R")


class Traced:
    """The part of a tensor that the engine reads: its value, the node that made it, its gradient."""

    __slots__ = ("__weakref__", "_array", "_extra", "_grad", "_name", "_node", "_requires_grad", "_version")

    _array: Array
    _extra: dict[str, Any] | None
    _grad: Tensor | None
    _node: Node | None
    _version: int
    _name: str | None
    _requires_grad: bool

    def detach(self) -> Traced:
        """The same value without history."""
        raise NotImplementedError


_tensor_type: type[Traced] = Traced


def use_tensor_type(kind: type[Traced]) -> None:
    """Make `kind` the type in which every primitive returns a tracked result."""
    global _tensor_type
    _tensor_type = kind


class Scope:
    """A named stretch of the program, such as ``bn1`` or ``var``: plain data, linked to the scope around it."""

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
        """This scope, then the ones around it, inside out."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


class Mode(NamedTuple):
    """What a call looks up once: whether it is recorded and in what scope, whether it is watched, and its line."""

    recording: bool
    scope: Scope | None
    watched: bool = False
    lines: bool = False


_mode: ContextVar[Mode] = ContextVar("microtensor", default=Mode(True, None))


class _ModeSwitch:
    """A re-entrant context manager that replaces the mode; a decorator for functions, generators, coroutines.

    An asynchronous generator does not receive what is sent into its decorated form.
    """

    def __init__(self) -> None:
        self._tokens: list[Token[Mode]] = []

    def _next(self, mode: Mode) -> Mode:
        raise NotImplementedError

    def _fresh(self) -> _ModeSwitch:
        return type(self)()

    def __enter__(self) -> _ModeSwitch:
        self._tokens.append(_mode.set(self._next(_mode.get())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _mode.reset(self._tokens.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        # A tenth of this package's own time to load, and needed by decorators alone.
        import inspect

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
                body = function(*args, **kwargs)
                step: Callable[[], Any] = functools.partial(next, body)
                try:
                    while True:
                        # The mode holds while the body runs and is given back whenever it yields.
                        with self._fresh():
                            try:
                                value = step()
                            except StopIteration as stop:
                                return stop.value
                        try:
                            sent = yield value
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step = functools.partial(body.throw, error)
                        else:
                            step = functools.partial(body.send, sent)
                finally:
                    with self._fresh():
                        body.close()

            return cast("Callable[P, R]", generator)

        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def asynchronous_generator(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, None]:
                async with aclosing(function(*args, **kwargs)) as body:
                    while True:
                        with self._fresh():
                            try:
                                value = await anext(body)
                            except StopAsyncIteration:
                                return
                        yield value

            return cast("Callable[P, R]", asynchronous_generator)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._fresh():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", coroutine)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._fresh():
                return function(*args, **kwargs)

        return wrapper


class no_grad(_ModeSwitch):
    """Switch recording off: results made inside have no history and cost no memory.

    A context manager and a decorator (also of generator functions); it holds for the current thread or
    asynchronous task, nests, and is undone when the block ends, also by an exception.

    Examples
    --------
    >>> import microtensor as mt
    >>> w = mt.tensor([1.0, 2.0], requires_grad=True)
    >>> with mt.no_grad():
    ...     (w * 3).requires_grad
    False
    """

    def _next(self, mode: Mode) -> Mode:
        return Mode(False, mode.scope, mode.watched, mode.lines)


class enable_grad(_ModeSwitch):
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
        return Mode(True, mode.scope, mode.watched, mode.lines)


class detect_anomaly(_ModeSwitch):
    """Watch every operation: the first NaN or ∞ raises, and errors name the line that made the operation.

    A value, forward or backward, that is not finite although all it was computed from is raises
    FloatingPointError with the operation, the shapes and the line. Slow; for finding a fault.

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
        return Mode(mode.recording, mode.scope, True, True)


class trace_lines(_ModeSwitch):
    """Record with every operation the line of the program that called for it.

    An error in backward then names the line; ``microtensor viz`` and ``microtensor check`` run a script so. It
    takes a small operation half as long again, so it is off otherwise.

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
        return Mode(mode.recording, mode.scope, mode.watched, True)


def is_watched() -> bool:
    """Whether :class:`detect_anomaly` is in force."""
    return _mode.get().watched


def is_finite(value: Any) -> bool:
    """Whether an array or tensor of floats holds neither NaN nor ∞; integers always do."""
    array = np.asarray(value._array if isinstance(value, Traced) else value)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _calling_line() -> str:
    """The innermost line outside this package, as ``file:line in function``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "microtensor":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


class name_scope(_ModeSwitch):
    """Give a name to the operations recorded inside, so that pictures can frame, fold and unfold them.

    Entering the same object twice continues the same scope; a new object with the same name is a new scope.

    Parameters
    ----------
    name : str
        What the frame is called.
    detail : str, optional
        What it is, in muted text beside the name; modules put their ``repr`` here.

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

    def _fresh(self) -> name_scope:
        return name_scope(self.name, self.detail)

    def _next(self, mode: Mode) -> Mode:
        if self.scope is None:
            self.scope = Scope(self.name, self.detail, mode.scope)
        return Mode(mode.recording, self.scope, mode.watched, mode.lines)


def is_recording() -> bool:
    """Whether operations on tensors that require a gradient are recorded just now."""
    return _mode.get().recording


def label(value: R, name: str) -> R:
    """Name a result for the pictures (μ, σ, x̂) and return it; an array passes through untouched."""
    if isinstance(value, Traced):
        value._name = name
    return value


_created = itertools.count()
_new = object.__new__
# Shared by all calls without keyword arguments, which are most; nobody writes to params.
_NO_PARAMS: dict[str, Any] = {}


class Node:
    """The record of one call: the primitive, what it was called with, and where. Plain data.

    Attributes
    ----------
    primitive : Primitive
    inputs : tuple
        Tensors and constant arrays, in the order of the call; empty once the graph has been freed.
    params : dict
        The static keyword arguments.
    scope : Scope or None
    index : int
        Creation number. An input is made before its output, so this order is topological.
    version : int
        Sum of the versions of the inputs when they were read.
    spent : bool
        A backward pass has used this record up.
    line : str
        Where the program made the call; empty unless under :class:`trace_lines` or :class:`detect_anomaly`.
    """

    __slots__ = ("index", "inputs", "line", "params", "primitive", "scope", "spent", "version")

    primitive: Primitive
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    scope: Scope | None
    index: int
    version: int
    spent: bool
    line: str

    def __repr__(self) -> str:
        return f"<{safe_text(self.primitive.name)}>"


class EachArgument:
    """The rules of an operation with any number of arguments: ``rule(i, g, y, *inputs, **params)`` for the i-th."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __getitem__(self, i: int) -> Rule:
        return functools.partial(self.rule, i)


class Primitive:
    """An operation: a NumPy function and one derivative rule per positional argument.

    Called with arrays it returns an array; called with at least one tensor it returns a tensor, recorded
    when one of them requires a gradient. A rule is ``rule(g, y, *inputs, **params)``: from the cotangent of
    the output, the output and the inputs to the cotangent of one input. It is pure, it is written with
    polymorphic operations, so the engine can run it on arrays (first order) and on tensors (any order), and
    it may return anything that broadcasts to the shape of its input, or has that shape after a broadcast.

    Parameters
    ----------
    name : str
        The public name.
    forward : callable
        ``forward(*arrays, **params)`` on NumPy arrays.
    rules : tuple of callable or None, or EachArgument
        One per positional argument; None where there is no derivative.
    symbol : str, optional
        What a drawing shows in place of the name.
    shown : tuple of str
        The rules as text for the drawing, over ``g``, ``y`` and the arguments ``a``, ``b``.
    settle : callable, optional
        ``settle(params, arrays)`` writes keyword arguments back in their plain form: `forward`, the record and the
        rules see an axis as a tuple of integers, however the user spelt it.
    doc : str
        The docstring.
    """

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        rules: tuple[Rule | None, ...] | EachArgument,
        *,
        symbol: str | None = None,
        shown: tuple[str, ...] = (),
        settle: Callable[..., None] | None = None,
        doc: str = "",
    ) -> None:
        self.name = self.__name__ = name
        self.forward = forward
        self.rules = rules
        self.symbol = symbol or name
        self.shown = shown
        self.settle = settle
        self.__doc__ = doc
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
            frame = frame.f_back
        self.__module__ = frame.f_globals.get("__name__", "__main__")

    def __repr__(self) -> str:
        return f"<primitive {safe_text(self.name)}>"

    def __reduce__(self) -> tuple[Callable[[str, str], Primitive], tuple[str, str]]:
        return _primitive_of, (self.__module__, self.name)

    def __copy__(self) -> Primitive:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Primitive:
        return self

    @overload
    def __call__(self, *inputs: Array, **params: Any) -> Array: ...

    @overload
    def __call__(self, *inputs: Tensor | ArrayLike, **params: Any) -> Tensor: ...

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        tracked = needs_grad = False
        version = constants = 0
        arrays: list[Any] = []
        for x in inputs:
            if isinstance(x, Traced):
                tracked = True
                arrays.append(x._array)
                version += x._version
                if x._requires_grad:
                    needs_grad = True
            else:
                constants += 1
                arrays.append(x)
        if params and arrays and self.settle is not None:
            self.settle(params, arrays)
        if not tracked:
            return self.forward(*inputs, **params)
        loud = get_errors()
        try:
            # Inside, so that an interrupt at any moment finds the way back.
            set_errors(IGNORED)
            if constants:
                inputs = self._freeze_constants(inputs, arrays)
            value = self.forward(*arrays, **params)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise self._explained(error, arrays) from error
        finally:
            set_errors(loud)
        if type(value) is not np.ndarray:
            value = np.asarray(value)
        out = _new(_tensor_type)
        out._array = value
        out._extra = out._grad = out._name = None
        out._version = 0
        # Only an operation with parameters can turn floats into integers, which have no gradient.
        mode = _mode.get()
        if mode.watched:
            self._watch(value, arrays)
        if needs_grad and mode.recording and (not params or value.dtype.kind == "f"):
            out._requires_grad = True
            # Field by field: a call of __init__ would take a tenth of the time of a small operation.
            out._node = node = _new(Node)
            node.primitive = self
            node.inputs = inputs
            node.params = params or _NO_PARAMS
            node.scope = mode.scope
            node.index = next(_created)
            node.version = version
            node.spent = False
            node.line = _calling_line() if mode.lines else ""
        else:
            out._requires_grad = False
            out._node = None
            if needs_grad:
                out._extra = {"unrecorded": True}
        return out

    def _freeze_constants(self, inputs: tuple[Any, ...], arrays: list[Any]) -> tuple[Any, ...]:
        """Turn what is not a tensor into arrays of our own, so that nobody can change a recorded value."""
        dtype = None
        for x in inputs:
            if isinstance(x, Traced) and x._array.dtype.kind == "f":
                dtype = x._array.dtype
                break
        frozen = list(inputs)
        for i, x in enumerate(inputs):
            if isinstance(x, Traced):
                continue
            kind = type(x)
            if kind is float or kind is int:
                # A Python scalar is weak (NEP 50): it takes the dtype of the tensor it meets.
                frozen[i] = arrays[i] = x if dtype is None else np.array(x, dtype)
            else:
                frozen[i] = arrays[i] = x if kind is bool else own_array(x, f"{self.name}: argument {i}")
        return tuple(frozen)

    def _watch(self, value: Array, arrays: list[Any]) -> None:
        if not is_finite(value) and all(map(is_finite, arrays)):
            shapes = ", ".join(str(np.shape(x)) for x in arrays)
            raise FloatingPointError(
                f"{self.name}: the result of shape {value.shape} is not finite (inputs {shapes}), at {_calling_line()}"
            )

    def _explained(self, error: Exception, arrays: list[Any]) -> Exception:
        """The same kind of error, with the operation and the shapes in the message."""
        if str(error).startswith(f"{self.name}:"):
            return error
        if isinstance(error, TypeError) and ("boolean" in str(error) or "BoolDType" in str(error)):
            return TypeError(f"{self.name}: NumPy has none of booleans; convert them first with .astype(float)")
        shapes = [np.shape(x) for x in arrays]
        conflict = broadcast_conflict(shapes) if type(error) is ValueError and len(shapes) > 1 else None
        message = (
            f"{self.name}: {conflict}" if conflict else f"{self.name}: {error} (shapes {', '.join(map(str, shapes))})"
        )
        if type(error) in (ValueError, TypeError, IndexError, np.exceptions.AxisError):
            return type(error)(message)
        error.add_note(message)
        return error


def _primitive_of(module: str, name: str) -> Primitive:
    """The operation of that name among the globals of a module, which is how a pickle finds it again."""
    for value in vars(import_module(module)).values():
        if isinstance(value, Primitive) and value.name == name:
            return value
    raise AttributeError(f"module {module} has no primitive {name}")


def broadcast_conflict(shapes: list[tuple[int, ...]]) -> str | None:
    """Say at which axis `shapes` cannot be broadcast together; None when they can."""
    width = max(len(shape) for shape in shapes)
    for axis in range(1, width + 1):
        sizes = {shape[-axis] for shape in shapes if len(shape) >= axis} - {1}
        if len(sizes) > 1:
            listed = " and ".join(map(str, shapes))
            return f"shapes {listed} do not broadcast: axis -{axis} has sizes {' and '.join(map(str, sorted(sizes)))}"
    return None


def primitive(
    name: str,
    forward: Callable[..., Any],
    *rules: Rule | None,
    symbol: str | None = None,
    shown: tuple[str, ...] = (),
    settle: Callable[..., None] | None = None,
    doc: str = "",
) -> Primitive:
    """Define an operation in one statement; see :class:`Primitive`.

    Examples
    --------
    >>> import numpy as np
    >>> from microtensor.primitive import primitive
    >>> cube = primitive("cube", lambda x: x**3, lambda g, y, x: g * 3 * x * x)
    >>> cube(np.array([2.0]))
    array([8.])
    """
    return Primitive(name, forward, rules, symbol=symbol, shown=shown, settle=settle, doc=doc)
