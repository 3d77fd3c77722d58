"""The report of a failed script: its own frames, a summary of one line, and the graph that it had computed."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from traceback import TracebackException, walk_tb
from types import FrameType
from typing import Any, NamedTuple

from microtensor.core.primitive import Primitive
from microtensor.core.tensor import Tensor
from microtensor.functional import scoped
from microtensor.inspect.graph import Graph, read_failure, size
from microtensor.nn.module import UNNAMED, Module
from microtensor.script.names import is_a, name_records, name_variables
from microtensor.script.process_state import TimedOut
from microtensor.script.resolve import TargetError
from microtensor.script.target import WITH_TORCH, PathError, Target, as_module
from microtensor.support.modes import Scope
from microtensor.text import LINE, safe_text

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
NO_INPUT = "EOF when reading a line"
# A larger graph of a failed script is not shown.
LARGEST = 2000
SCOPED = scoped(os.getcwd).__code__


class ScriptError(Exception):
    """The user's script failed.

    Parameters
    ----------
    summary : str
        One line.
    details : str
        The frames of the script, without those of the tool.
    graph : Graph, optional
        The graph up to the operation that raised the error, or up to the latest result.
    """

    def __init__(self, summary: str, details: str = "", graph: Graph | None = None) -> None:
        super().__init__(summary)
        self.details = details
        self.graph = graph


@contextmanager
def script_errors(target: Target, timeout: float | None) -> Iterator[None]:
    """Turn an error of the script into a ScriptError. An error of the tool stays as it is."""
    try:
        yield
    except (KeyboardInterrupt, PathError, ScriptError, TargetError):
        raise
    except SystemExit as stop:
        raise ScriptError(f"{target.shown}: script exited with status {status_of(stop)}") from stop
    except BaseException as error:
        report = report_of(target, error, timeout)
        if report is None:
            raise
        raise report from error


def own_traceback(error: BaseException, script: str | None) -> str:
    """The traceback as Python would show it, without the frames of the tool."""
    told = TracebackException.from_exception(error)
    _drop_tool_frames(told, script)
    return "".join(told.format())


def report_of(target: Target, error: BaseException, timeout: float | None) -> ScriptError | None:
    """The report of an error of the script; None for an error inside microtensor itself."""
    # The error may be an object of the script that raises for every question.
    with contextlib.suppress(Exception):
        return _report_of(target, error, timeout)
    return ScriptError(f"{target.shown}: script raised an error that cannot be shown")


def _report_of(target: Target, error: BaseException, timeout: float | None) -> ScriptError | None:
    told = TracebackException.from_exception(error)
    if isinstance(error, TimedOut):
        # Where a script caught the first alarm, that alarm is the context of this one. It says nothing new.
        told.__context__ = None
    _drop_tool_frames(told, target.path)
    said = list(told.format_exception_only())
    details = "".join(told.format())
    if isinstance(error, TimedOut) and timeout is not None:
        details = details.removesuffix("".join(said))
        return ScriptError(f"{target.shown}: script ran longer than {timeout:g} s", details)
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        file, line = error.filename, error.lineno
        said = said[-1:]
    elif told.stack:
        # The innermost frame of the script itself, or the innermost of all.
        frame = ([frame for frame in told.stack if frame.filename == target.path] or told.stack)[-1]
        file, line = frame.filename, frame.lineno or 0
    else:
        return None
    text = "".join(said)
    if text.count("\n") == 1:
        details = details.removesuffix(text)
    if text == f"EOFError: {NO_INPUT}\n":
        summary = "script asked for input, and there was none; pipe it in, or pass arguments after --"
    else:
        summary = text.partition("\n")[0]
        if isinstance(error, ModuleNotFoundError) and f"{error.name}.".startswith("torch.") and not target.torch:
            summary += f"; {WITH_TORCH}"
        if "attempted relative import with no known parent package" in summary and target.path is not None:
            name = safe_text(as_module(target), LINE)
            summary += f"; it is part of a package: name it {name}, from the folder around the package"
    shown = target.shown if file == target.path else safe_text(file, LINE)
    return ScriptError(f"{shown}:{line}: {summary}", details, _unfinished(error, target, summary))


def _drop_tool_frames(told: TracebackException, script: str | None) -> None:
    """Leave out the frames of this package, and the causes that have no other frames."""
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


# --- how far it had come ----------------------------------------------------------------------------------


def _unfinished(error: BaseException, target: Target, message: str) -> Graph | None:
    """The graph that led to the operation that raised, or else to the latest result that the script held."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    own = [frame for frame in frames if not _is_tool(frame.f_code.co_filename, target.path)]
    for frame in own:
        name_variables({**frame.f_globals, **frame.f_locals})
    call = _failed_call(frames, frames.index(own[-1]) + 1) if own else None
    if call is not None:
        tensors = [x for x in call.inputs if is_a(x, Tensor)]
        if any(size(x) > LARGEST for x in tensors):
            return None
        name_records(tensors, own[-1].f_globals)
        file, number, function = own[-1].f_code.co_filename, own[-1].f_lineno, own[-1].f_code.co_name
        line = f"{os.path.basename(file)}:{number} in {function}"
        scope = _scope_of(call.around, tensors)
        return read_failure(call.name, call.symbol, call.inputs, message, scope=scope, line=line)
    held = [x for frame in own for x in (*frame.f_globals.values(), *frame.f_locals.values())]
    results = [(x.node.index, x) for x in held if is_a(x, Tensor) and x.node is not None]
    latest = max(results, key=lambda result: result[0], default=(0, None))[1]
    return None if latest is None or size(latest) > LARGEST else Graph.from_tensor(latest, gradients=False)


class _Call(NamedTuple):
    """A call into the package that raised, and the frames of the calls around it."""

    name: str
    symbol: str
    inputs: tuple[Any, ...]
    around: Sequence[FrameType]


def _failed_call(frames: Sequence[FrameType], start: int) -> _Call | None:
    """The operation that raised, or else the module or function that refused its input; searched from a frame on."""
    inside = [(i, frames[i].f_code, frames[i].f_locals) for i in reversed(range(start, len(frames)))]
    for i, code, called in inside:
        if code is Primitive.__call__.__code__ and _tensors_in(called["inputs"]):
            return _Call(called["self"].name, called["self"].symbol, called["inputs"], frames[:i])
    for i, code, called in inside:
        if code is Module.__call__.__code__:
            title = called["self"].title()
            return _Call(title, title, _tensors_in(called["inputs"]), frames[:i])
        if code is SCOPED:
            name = called["function"].__name__
            return _Call(name, name, _tensors_in((*called["args"], *called["kwargs"].values())), frames[:i])
    return None


def _tensors_in(values: Iterable[Any]) -> tuple[Tensor, ...]:
    return tuple(x for x in values if is_a(x, Tensor))


def _scope_of(frames: Sequence[FrameType], tensors: Sequence[Tensor]) -> Scope | None:
    """The scope in which the frames of modules and named functions ran. Its blocks have ended by now."""
    known = {
        (scope.name, scope.detail): scope
        for x in tensors
        if x.node is not None and x.node.scope is not None
        for scope in x.node.scope.chain()
    }
    at: Scope | None = None
    for frame in frames:
        if frame.f_code is Module.__call__.__code__:
            module = frame.f_locals["self"]
            key = (module._name or UNNAMED, module.title())
        elif frame.f_code is SCOPED:
            key = (frame.f_locals["function"].__name__, "")
        else:
            continue
        at = known.get(key) or Scope(*key, at)
    return at


def status_of(stop: SystemExit) -> int:
    """The exit status of the process. A message is printed, as the interpreter would do."""
    # The status and its text may be objects of the script, which may do anything.
    try:
        if stop.code is None:
            return 0
        if isinstance(stop.code, int):
            # A number that is too large for a C long is -1 to the interpreter.
            return int(stop.code) & 0xFF if -(2**63) <= int(stop.code) < 2**63 else 0xFF
        text = str(stop.code)
    except Exception:
        text = "<the exit message cannot be shown>"
    sys.stderr.write(f"{text}\n")
    return 1
