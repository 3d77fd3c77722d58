"""Processes that a script forks. They end where the script ends; only the first process goes on to draw."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import getpid
from typing import Any, NoReturn

from microtensor.script.errors import own_traceback, status_of
from microtensor.script.target import Target


@contextmanager
def only_first(target: Target, repair: Callable[[], None]) -> Iterator[None]:
    """End a process that was forked inside the block. It ends as the interpreter would end it after the script."""
    first = getpid()
    try:
        yield
    except BaseException as error:
        if getpid() == first:
            raise
        repair()
        if isinstance(error, SystemExit):
            _leave(status_of(error))
        sys.stderr.write(own_traceback(error, target.path))
        _leave(1)
    if getpid() != first:
        repair()
        _leave(0)


def join(others: set[threading.Thread]) -> None:
    """Wait for the threads that are not daemons, as the interpreter does at its end.

    An executor that is still open is shut down when its work is done. Otherwise its idle threads would wait for ever.
    """
    while started := {thread for thread in threading.enumerate() if thread not in others and not thread.daemon}:
        for executor in _executors():
            own = {*getattr(executor, "_threads", ()), getattr(executor, "_executor_manager_thread", None)}
            if own & started:
                executor.shutdown(wait=True)
        for thread in started:
            thread.join()


def _executors() -> list[Any]:
    futures = sys.modules.get("concurrent.futures")
    if futures is None:
        return []
    return [value for value in gc.get_objects() if issubclass(type(value), futures.Executor)]


def _leave(status: int) -> NoReturn:
    try:
        join({threading.current_thread()})
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception, SystemExit, GeneratorExit):
                stream.flush()
    finally:
        os._exit(status & 0xFF)
