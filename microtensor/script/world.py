"""The world that a script runs in, put back afterwards: its streams, its modules, its time limit."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn


class TimedOut(BaseException):
    """The time is up; not an Exception, so that a script's ``except Exception`` lets it through."""


@contextmanager
def restored() -> Iterator[None]:
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
def output_to_stderr() -> Iterator[None]:
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
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise :class:`TimedOut` when the time is up."""
    if seconds is None:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> NoReturn:
        raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    # It rings again every second, for scripts that catch everything.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
