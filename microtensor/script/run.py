"""Runs a target in a state of the process of its own, and returns the tensor that was asked for."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from traceback import walk_tb
from types import ModuleType
from typing import Any

from microtensor.script import watch
from microtensor.script.backwards import Stopped, watched_backwards
from microtensor.script.errors import ScriptError, report_of, script_errors, status_of
from microtensor.script.forked import join, only_first
from microtensor.script.in_place_of_torch import in_place_of_torch
from microtensor.script.names import name_records, name_variables
from microtensor.script.pair import Pair
from microtensor.script.process_state import Interpreter, output_to_stderr, restored, time_limit
from microtensor.script.resolve import Found, UndefinedError, made_by_then, resolve
from microtensor.script.sources import compiled
from microtensor.script.target import PathError, Target
from microtensor.script.unrecorded import unrecorded_kept
from microtensor.support.modes import keep_graphs, trace_lines


@contextmanager
def running_pair(
    target: Target, find: Callable[[Mapping[str, Any]], Pair], args: Sequence[str] = (), timeout: float | None = None
) -> Iterator[Pair]:
    """Run a target as :func:`running` does, and give what `find` takes from its names: functions to be graded.

    The block may call them. The time limit holds inside it as well.

    Parameters
    ----------
    target : Target
    find : callable
        From the names that the script has defined to the pair.
    args, timeout
        See :func:`running`.

    Raises
    ------
    PathError
        The file cannot be read or is not Python, there is no such module, or `find` raises it.
    ScriptError
        The script raised, asked for missing input, or ran too long.
    """
    if target.demo is not None:
        raise PathError(f"{target.shown} has no backward to grade; name a script with one")
    with _running(target, args, timeout, True, find, nullcontext()) as pair:
        yield pair


@contextmanager
def running(
    target: Target,
    args: Sequence[str] = (),
    timeout: float | None = None,
    *,
    functions: bool = False,
    unrecorded: bool = False,
) -> Iterator[Found]:
    """Run a target and give its tensor. Inside the block, the process is in the state in which the script left it.

    The script runs as ``python SCRIPT args…`` would run it. But its standard output goes to standard error, so that a
    result can be piped. Graphs that its backward passes have used up can still be drawn. A process that it forks ends
    where the script ends. The script may fail, or exit with a status other than 0, after the named tensor was made.
    Then the tensor is given together with the failure. Everything is restored at the end. A tensor at module level that
    has no name gets the name of its variable.

    Parameters
    ----------
    target : Target
    args : sequence of str
        The script's ``sys.argv``, after its name.
    timeout : float, optional
        The seconds that the script may run. This needs a platform with SIGALRM.
    functions : bool
        Whether to accept functions. Every parameter of such a function must have a tensor, an array or a float as its
        default. The result holds the function and its inputs. The block may call the function, so the time limit holds
        inside the block too.
    unrecorded : bool
        Whether to record for the picture what the engine does not record. See :mod:`microtensor.script.unrecorded`.

    Raises
    ------
    PathError
        The file cannot be read or is not Python, or there is no such module.
    ScriptError
        The script raised an error, exited too early, asked for missing input, or ran too long.
    TargetError
        The target is missing, is not a tensor, or is not unique.
    """
    kept = unrecorded_kept() if unrecorded else nullcontext()
    with watched_backwards(target.stop_at_backward) as backwards:

        def find(names: Mapping[str, Any]) -> Found:
            return resolve(names, target, functions, backwards)

        with _running(target, args, timeout, functions, find, kept) as found:
            yield found


@contextmanager
def _running(
    target: Target,
    args: Sequence[str],
    timeout: float | None,
    functions: bool,
    find: Callable[[Mapping[str, Any]], Any],
    around: AbstractContextManager[None],
) -> Iterator[Any]:
    if target.graph is not None:
        raise PathError(f"{target.shown} is a stored graph, which has no tensors to run; name a script")
    if watch.board is not None:
        watch.board.begin(target.text)
    with ExitStack() as state:
        if target.torch:
            state.enter_context(in_place_of_torch())
        ours = state.enter_context(restored(alarm=timeout is None))
        for part in (output_to_stderr(), keep_graphs(), script_errors(target, timeout)):
            state.enter_context(part)
        if target.demo is None:
            state.enter_context(trace_lines())
        # The script's code may have run until here, also in the block. What follows is the tool's code.
        state.callback(ours.repair)
        state.enter_context(only_first(target, ours.repair))
        # The script's errors may run code when they are shown. This counts as the script's time as well.
        with time_limit(timeout), script_errors(target, timeout):
            with around:
                found = _find(target, args, functions, ours, find)
            if functions:
                yield found
        if not functions:
            yield found


def _find(
    target: Target,
    args: Sequence[str],
    functions: bool,
    ours: Interpreter,
    find: Callable[[Mapping[str, Any]], Any],
) -> Any:
    if target.demo is not None:
        from microtensor.demos import DEMOS

        return Found(DEMOS[target.demo]())
    sys.argv = [target.text, *args]
    others = set(threading.enumerate())
    module: ModuleType | None = None
    status: int | None = None
    doing = "checking" if functions else "drawing"
    codes = [] if target.module is not None else compiled(target)
    # A module is found from the current directory.
    ours.put_first(os.getcwd() if target.path is None else os.path.dirname(os.path.realpath(target.path)))
    try:
        with only_first(target, ours.repair):
            try:
                if target.module is not None:
                    module = _import(target.text)
                else:
                    module = _main_module(target.path)
                    for code in codes:
                        exec(code, vars(module))
            finally:
                ours.repair()
    except Stopped:
        # The script was ended where it was asked to.
        pass
    except SystemExit as stop:
        status = status_of(stop)
    except Exception as error:
        namespace = vars(module) if module is not None else _reached(error, target.text)
        made = made_by_then(namespace, target)
        failure = None if made is None else report_of(target, error, None)
        if made is None or failure is None:
            raise
        name_variables(namespace)
        name_records([made], namespace)
        note = f"{target.shown} failed after {target.attr} was made; {doing} it as it was then"
        return Found(made, notes=(note,), failure=failure)
    join(others)
    ours.repair()
    namespace = dict(vars(module)) if module is not None else {}
    name_variables(namespace)
    try:
        found = find(namespace)
        if isinstance(found, Found):
            name_records([found.tensor], namespace)
    except UndefinedError:
        if status is None:
            raise
        wanted = target.attr or f"a tensor to {'check' if functions else 'draw'}"
        raise ScriptError(f"{target.shown}: script exited with status {status} before defining {wanted}") from None
    finally:
        ours.repair()
    if status is None:
        return found
    note = f"{target.shown} exited with status {status}; {doing} what it had defined by then"
    failure = ScriptError(f"{target.shown}: script exited with status {status}") if status else None
    return replace(found, notes=(note,), failure=failure)


def _main_module(path: str | None) -> ModuleType:
    """The module in which the script runs. It is registered, so that pickle and dataclasses find it."""
    module = ModuleType("__main__")
    vars(module).update(__builtins__=builtins, __cached__=None)
    if path is not None:
        vars(module).update(__file__=path, __loader__=SourceFileLoader("__main__", path))
    sys.modules["__main__"] = module
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise PathError(f"there is no module {error.name} here or on the Python path") from error
        raise


def _reached(error: BaseException, name: str) -> dict[str, Any]:
    """The names that a module had defined when its import failed."""
    found = (frame.f_globals for frame, _ in walk_tb(error.__traceback__) if frame.f_globals.get("__name__") == name)
    return next(found, {})
