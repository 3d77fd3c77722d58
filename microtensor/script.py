"""Runs a user's script as ``python SCRIPT args…`` would, and finds the tensor or function that was asked for.

:func:`parse` reads a target (``file.py``, ``file.py:attr``, ``pkg.module:attr``, ``demo:NAME``);
:func:`running` runs it and keeps its world in place while the tensor is being read. What goes wrong is one
of three errors: :class:`PathError` (there is nothing to run), :class:`ScriptError` (the script failed) and
:class:`TargetError` (it ran, and the tensor is not there).
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import difflib
import importlib
import inspect
import os
import signal
import sys
import threading
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from traceback import FrameSummary, TracebackException
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NoReturn

import numpy as np

from microtensor.backprop import keep_graphs
from microtensor.nn.module import Module
from microtensor.primitive import trace_lines
from microtensor.tensor import Tensor

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
NO_INPUT = "EOF when reading a line"


class PathError(Exception):
    """There is nothing to run: no such file, module or demo, or it is not Python."""


class TargetError(Exception):
    """The script ran, but the tensor asked for is not there, is not a tensor, or is one of several."""


class ScriptError(Exception):
    """The user's script failed.

    Parameters
    ----------
    summary : str
        One line.
    details : str
        The frames of the script, without those of the tool.
    """

    def __init__(self, summary: str, details: str = "") -> None:
        super().__init__(summary)
        self.details = details


class _UndefinedError(TargetError):
    """The tensor asked for was never made, which an early exit of the script explains."""


class _TimedOut(BaseException):
    """The time is up; not an Exception, so that a script's ``except Exception`` lets it through."""


@dataclass(frozen=True)
class Target:
    """What to run and what to look for.

    Attributes
    ----------
    text : str
        As the user wrote it, without the attribute.
    path : str or None
        The script's absolute path.
    module : str or None
        A module's dotted name.
    demo : str or None
        A built-in demo's name.
    attr : str or None
        Dotted names; None means the only candidate.
    """

    text: str
    path: str | None = None
    module: str | None = None
    demo: str | None = None
    attr: str | None = None


@dataclass(frozen=True)
class Found:
    """The tensor, and remarks for the user on how it came about.

    Attributes
    ----------
    tensor : Tensor
    notes : tuple of str
    function : callable or None
        What made the tensor, when a function of numbers was asked for.
    inputs : tuple of Tensor
        What it was called with, in the order in which it takes them.
    """

    tensor: Tensor
    notes: tuple[str, ...] = ()
    function: Callable[..., Any] | None = None
    inputs: tuple[Tensor, ...] = ()


def parse(text: str) -> Target:
    """Read a target.

    Parameters
    ----------
    text : str
        ``file.py``, ``file.py:attr``, ``pkg.module:attr`` or ``demo:NAME``; the colon of a drive letter
        belongs to the path.

    Raises
    ------
    PathError
        There is no such file or demo, or what follows the colon is not a name.

    Examples
    --------
    >>> from microtensor.script import parse
    >>> parse("pkg.module:model.loss").attr
    'model.loss'
    """
    if text.startswith("demo:"):
        return _parse_demo(text)
    head, colon, tail = text.rpartition(":")
    if not colon or os.path.exists(text):
        return _parse_path(text, None)
    if _is_dotted_name(tail):
        if _looks_like_path(head):
            return _parse_path(head, tail)
        if _is_dotted_name(head):
            return Target(head, module=head, attr=tail)
    elif _looks_like_path(head) and "/" not in tail and "\\" not in tail:
        what = f"{tail!r} after the colon is not a name" if tail else "there is no name after the colon"
        raise PathError(f"{text}: {what}; write {head}:loss or {head}:model.loss")
    return _parse_path(text, None)


def _parse_demo(text: str) -> Target:
    from microtensor.demos import DEMOS

    name = text.removeprefix("demo:")
    if name not in DEMOS:
        known = ", ".join(f"demo:{demo}" for demo in DEMOS)
        raise PathError(f"there is no demo {name!r}; there are {known}" if name else f"which demo? There are {known}")
    return Target(text, demo=name)


def _parse_path(path: str, attr: str | None) -> Target:
    if os.path.isdir(path):
        raise PathError(f"{path} is a directory; name a script in it, such as {os.path.join(path, 'train.py')}")
    if not os.path.exists(path):
        hint = f"; did you mean {path}.py?" if os.path.exists(f"{path}.py") else ""
        if not hint and _is_dotted_name(path):
            hint = f"; a target is file.py, file.py:name, {path}:name for a module, or demo:batch_norm"
        raise PathError(f"{path}: no such file{hint}")
    return Target(path, path=os.path.abspath(path), attr=attr)


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _looks_like_path(text: str) -> bool:
    return text.endswith(".py") or "/" in text or "\\" in text or os.path.exists(text)


@contextmanager
def running(
    target: Target, args: Sequence[str] = (), timeout: float | None = None, *, functions: bool = False
) -> Iterator[Found]:
    """Run a target and give its tensor; inside the block the script's world is still in place.

    The script sees what it would see as ``python SCRIPT args…``, except that its standard output is standard
    error, so that a result can be piped. Graphs that its backward passes have used up can still be drawn.
    Everything is put back at the end. Tensors without a name that stand at module level get the name of
    their variable.

    Parameters
    ----------
    target : Target
    args : sequence of str
        For the script's ``sys.argv``.
    timeout : float, optional
        Seconds that the script may run; needs a platform with SIGALRM.
    functions : bool
        Take functions of which every parameter has a tensor, an array or a float as its default, and hand
        them over with their inputs. The block may call them, so the time limit holds inside it too.

    Raises
    ------
    PathError
        The file cannot be read or is not Python, or there is no such module.
    ScriptError
        The script raised, exited too early, asked for input that was not there, or ran too long.
    TargetError
        The tensor asked for is missing, is something else, or is one of several.
    """
    with _restored(), _output_to_stderr(), keep_graphs(), trace_lines(), _blaming(target, timeout):
        with _time_limit(timeout):
            found = _find(target, args, functions)
            if functions:
                yield found
        if not functions:
            yield found


def _find(target: Target, args: Sequence[str], functions: bool) -> Found:
    if target.demo is not None:
        from microtensor.demos import DEMOS

        return Found(DEMOS[target.demo]())
    sys.argv = [target.text, *args]
    others = set(threading.enumerate())
    module: ModuleType | None = None
    status: int | None = None
    try:
        if target.path is None:
            module = _import(target)
        else:
            code = _compile(target.text, target.path)
            module = _main_module(target.path)
            exec(code, vars(module))
    except SystemExit as stop:
        status = _status(stop)
    for thread in threading.enumerate():
        # As the interpreter does at its end: a thread that is not a daemon belongs to the run.
        if thread not in others and not thread.daemon:
            thread.join()
    namespace = dict(vars(module)) if module is not None else {}
    _name_variables(namespace)
    try:
        found = _resolve(namespace, target, functions)
    except _UndefinedError:
        if status is None:
            raise
        wanted = target.attr or f"a tensor to {'check' if functions else 'draw'}"
        raise ScriptError(f"{target.text}: script exited with status {status} before defining {wanted}") from None
    if status is None:
        return found
    doing = "checking" if functions else "drawing"
    return replace(found, notes=(f"{target.text} exited with status {status}; {doing} what it had defined by then",))


# --- running ----------------------------------------------------------------------------------------------


def _compile(shown: str, path: str) -> CodeType:
    try:
        with tokenize.open(path) as file:
            source = file.read()
    except OSError as error:
        raise PathError(f"cannot read {shown}: {error.strerror or error}") from error
    except (UnicodeDecodeError, SyntaxError) as error:
        raise PathError(
            f"{shown} is not Python source in UTF-8 or in the encoding it declares; if it is Python in another one, "
            "say so in its first line: # coding: latin-1"
        ) from error
    if "\0" in source:
        raise PathError(f"{shown} is not Python source: it contains null bytes")
    return compile(source, path, "exec", dont_inherit=True)


def _main_module(path: str) -> ModuleType:
    """The module that the script runs in, registered so that pickle and dataclasses find it."""
    module = ModuleType("__main__")
    loader = SourceFileLoader("__main__", path)
    vars(module).update(__file__=path, __builtins__=builtins, __loader__=loader, __cached__=None)
    sys.modules["__main__"] = module
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    return module


def _import(target: Target) -> ModuleType:
    name = target.text
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise PathError(f"there is no module {error.name} here or on the Python path") from error
        raise


def _status(stop: SystemExit) -> int:
    """What the process would have exited with; a message is printed, as the interpreter does."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return int(stop.code)
    sys.stderr.write(f"{stop.code}\n")
    return 1


@contextmanager
def _restored() -> Iterator[None]:
    """Put back afterwards what a script may change: argv, path, __main__, the streams and the directory."""
    names = ("argv", "path", "stdin", "stdout", "stderr")
    kept = {name: getattr(sys, name) for name in names}
    search, main, directory = list(sys.path), sys.modules["__main__"], os.getcwd()
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(sys, name, value)
        sys.path[:] = search
        sys.modules["__main__"] = main
        with suppress(OSError):
            os.chdir(directory)


@contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Send standard output to standard error, for Python, for C code and for child processes alike."""
    _flush(sys.stdout)
    stream = _stderr_stream()
    try:
        saved = os.dup(1)
    except OSError:
        saved = None
    try:
        os.dup2(2, 1)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    sys.stdout = stream
    try:
        yield
    finally:
        # What a script leaves for the interpreter's exit (atexit, C buffers) must not get into a piped picture.
        atexit.unregister(_rest_to_stderr)
        atexit.register(_rest_to_stderr)
        _flush(sys.stdout)
        _flush(sys.__stdout__)
        _flush(stream)
        if stream is not sys.stderr:
            with suppress(OSError, ValueError):
                stream.close()
        if saved is None:
            os.close(1)
        else:
            os.dup2(saved, 1)
            os.close(saved)


def _stderr_stream() -> Any:
    """A stream of the script's own, since closing or rewrapping it must not cost the tool its messages."""
    try:
        copy = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return sys.stderr
    return open(copy, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)


def _flush(stream: Any) -> None:
    with suppress(AttributeError, OSError, ValueError):
        stream.flush()


def _rest_to_stderr() -> None:
    _flush(sys.stdout)
    with suppress(OSError):
        os.dup2(2, 1)


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> NoReturn:
        raise _TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    # It rings again every second, for scripts that catch everything.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- what went wrong --------------------------------------------------------------------------------------


@contextmanager
def _blaming(target: Target, timeout: float | None) -> Iterator[None]:
    """Turn what the script's code raises into a ScriptError; what is not the script's goes on as it is."""
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit, PathError, ScriptError, TargetError):
        raise
    except SystemExit as stop:
        raise ScriptError(f"{target.text}: script exited with status {_status(stop)}") from stop
    except BaseException as error:
        report = _report(target, error, timeout)
        if report is None:
            raise
        raise report from error


def _report(target: Target, error: BaseException, timeout: float | None) -> ScriptError | None:
    told = TracebackException.from_exception(error)
    if isinstance(error, _TimedOut):
        # A script that caught the first alarm has it as a context, which would say nothing of its own.
        told.__context__ = None
    _drop_tool_frames(told, target.path)
    said = list(told.format_exception_only())
    details = "".join(told.format())
    if isinstance(error, _TimedOut):
        details = details.removesuffix("".join(said))
        return ScriptError(f"{target.text}: script ran longer than {timeout:g} s", details)
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        where = f"{_shown(error.filename, target)}:{error.lineno}"
        said = said[-1:]
    elif told.stack:
        frame = _blamed(told.stack, target)
        where = f"{_shown(frame.filename, target)}:{frame.lineno}"
    else:
        return None
    text = "".join(said)
    if text.count("\n") == 1:
        details = details.removesuffix(text)
    if isinstance(error, EOFError) and str(error) == NO_INPUT:
        summary = "script asked for input, and there was none; pipe it in, or pass arguments after --"
    else:
        summary = text.partition("\n")[0]
    return ScriptError(f"{where}: {summary}", details)


def _drop_tool_frames(told: TracebackException, script: str | None) -> None:
    """Leave out the frames of this package, and the causes that lie wholly inside it."""
    todo = [told]
    while todo:
        one = todo.pop()
        foreign = [frame for frame in one.stack if not _is_tool(frame.filename, script)]
        one.stack[:] = foreign
        for link in ("__cause__", "__context__"):
            inner = getattr(one, link)
            if inner is None:
                continue
            if inner.stack and all(_is_tool(frame.filename, script) for frame in inner.stack):
                setattr(one, link, None)
            else:
                todo.append(inner)
        todo.extend(one.exceptions or ())


def _is_tool(filename: str, script: str | None) -> bool:
    if filename == script:
        return False
    return filename.startswith((PACKAGE, "<frozen importlib")) or filename in (importlib.__file__, contextlib.__file__)


def _blamed(stack: Sequence[FrameSummary], target: Target) -> FrameSummary:
    """The innermost frame of the script itself; where there is none, the innermost of all."""
    own = [frame for frame in stack if frame.filename == target.path]
    return (own or stack)[-1]


def _shown(filename: str, target: Target) -> str:
    return target.text if filename == target.path else filename


# --- finding the tensor -----------------------------------------------------------------------------------


def _name_variables(namespace: Mapping[str, Any]) -> None:
    for name, value in namespace.items():
        if isinstance(value, Tensor) and value.name is None:
            value.name = name


def _resolve(namespace: Mapping[str, Any], target: Target, functions: bool) -> Found:
    if target.attr is not None:
        return _found(_lookup(namespace, target.attr, target), f"{target.text}:{target.attr}", functions)
    results = _results(namespace)
    if len(results) == 1:
        return Found(next(iter(results.values())))
    if results:
        raise TargetError(
            f"{target.text} has {len(results)} results; say which one with {target.text}:{next(iter(results))}\n"
            + _listed(results)
        )
    makers = _makers(namespace, functions)
    if len(makers) == 1:
        name, make = next(iter(makers.items()))
        return _found(make, f"{target.text}:{name}", functions)
    if makers:
        raise TargetError(
            f"{target.text} has {len(makers)} functions that return a Tensor; say which one with "
            f"{target.text}:{next(iter(makers))}\n" + "\n".join(f"  {name}()" for name in makers)
        )
    tensors = _tensors(namespace)
    if tensors:
        raise _UndefinedError(
            f"{target.text} has no tensor with a history; compute one from a tensor with requires_grad=True, outside "
            f"no_grad, or name one of these with {target.text}:{next(iter(tensors))}\n" + _listed(tensors)
        )
    raise _UndefinedError(
        f"{target.text} has no tensor at module level; assign the result to a variable there, or define a function "
        "without arguments and with the annotation -> Tensor"
    )


def _tensors(namespace: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors at module level, each under its first name."""
    seen: set[int] = set()
    found = {}
    for name, value in namespace.items():
        if isinstance(value, Tensor) and id(value) not in seen:
            seen.add(id(value))
            found[name] = value
    return found


def _results(namespace: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors with a history that no other one of them was made from."""
    made = {name: value for name, value in _tensors(namespace).items() if value.node is not None}
    used: set[int] = set()
    stack = list(made.values())
    while stack:
        node = stack.pop().node
        for x in node.inputs if node is not None else ():
            if isinstance(x, Tensor) and id(x) not in used:
                used.add(id(x))
                stack.append(x)
    return {name: value for name, value in made.items() if id(value) not in used}


def _makers(namespace: Mapping[str, Any], functions: bool) -> dict[str, Callable[[], Any]]:
    """The functions of the script that need no argument and say that they return a Tensor.

    One that takes arrays need not say so, where `functions` are looked for.
    """
    found: dict[str, Callable[[], Any]] = {}
    for name, value in namespace.items():
        if (
            isinstance(value, FunctionType)
            and value.__module__ == namespace.get("__name__")
            and _needs_nothing(value)
            and (_says_tensor(value.__annotations__.get("return")) or (functions and _takes_arrays(value)))
            and all(value is not other for other in found.values())
        ):
            found[name] = value
    return found


def _says_tensor(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.strip("\"' ").rpartition(".")[2] == "Tensor"
    return isinstance(annotation, type) and issubclass(annotation, Tensor)


def _needs_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _defaults(function: Any) -> dict[str, Any]:
    """The defaults of a function that takes numbers and nothing else; otherwise none."""
    if not callable(function) or isinstance(function, (Tensor, Module)):
        return {}
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return defaults if all(isinstance(d, (Tensor, np.ndarray, float)) for d in defaults.values()) else {}


def _takes_arrays(function: Any) -> bool:
    return any(not isinstance(default, float) for default in _defaults(function).values())


def _found(value: Any, shown: str, functions: bool) -> Found:
    defaults = _defaults(value) if functions else {}
    if not defaults:
        return Found(_made_by(value, shown, functions))
    signature = inspect.signature(value)

    def function(*tensors: Tensor) -> Any:
        bound = signature.bind_partial()
        bound.arguments.update(zip(defaults, tensors, strict=True))
        return value(*bound.args, **bound.kwargs)

    inputs = []
    for name, default in defaults.items():
        tensor = Tensor(default)
        # Labels and masks have no gradient, so they stay what they are.
        real = tensor.dtype.kind == "f"
        inputs.append(Tensor(tensor, dtype=np.float64 if real else None, requires_grad=real, name=name))
    result = function(*inputs)
    if not isinstance(result, Tensor):
        raise TargetError(f"{shown}({', '.join(defaults)}) returned a {type(result).__name__}; a Tensor is needed")
    return Found(result, (), function, tuple(inputs))


def _lookup(namespace: Mapping[str, Any], attr: str, target: Target) -> Any:
    first, *rest = attr.split(".")
    if first not in namespace:
        raise _unknown(target.text, first, namespace, namespace, target)
    value = namespace[first]
    path = first
    for part in rest:
        try:
            value = getattr(value, part)
        except AttributeError:
            raise _unknown(f"{target.text}:{path}", part, dir(value), namespace, target) from None
        path += f".{part}"
    return value


def _unknown(
    owner: str, name: str, names: Iterable[str], namespace: Mapping[str, Any], target: Target
) -> _UndefinedError:
    near = difflib.get_close_matches(name, [n for n in names if not n.startswith("__")], 1)
    tensors = _tensors(namespace)
    message = f"{owner} has no {name}" + (f"; did you mean {near[0]}?" if near else "")
    return _UndefinedError(f"{message}\ntensors in {target.text}:\n{_listed(tensors)}" if tensors else message)


def _made_by(value: Any, shown: str, functions: bool) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Module):
        raise TargetError(
            f"{shown} is a module ({type(value).__name__}), which has no graph before it is called; "
            "assign the result of a call to a variable and name that one"
        )
    if not callable(value) or not _needs_nothing(value):
        what = "needs arguments" if callable(value) else f"is of type {type(value).__name__}"
        hint = ", or one whose parameters all have a tensor, an array or a float as their default" if functions else ""
        raise TargetError(f"{shown} {what}; a Tensor is needed, or a function without arguments that returns one{hint}")
    result = value()
    if not isinstance(result, Tensor):
        raise TargetError(f"{shown}() returned a value of type {type(result).__name__}; a Tensor is needed")
    return result


def _listed(tensors: Mapping[str, Tensor]) -> str:
    width = max(map(len, tensors))
    return "\n".join(f"  {name:<{width}}  {value.shape or 'scalar'}" for name, value in tensors.items())
