"""The state of the process in which a script runs: streams, modules, time limit. It is put back afterwards."""

from __future__ import annotations

import atexit
import builtins
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import numpy as np

from microtensor.creation import get_default_dtype, set_default_dtype
from microtensor.script import watch
from microtensor.script.modules import forget, give_way

STREAMS = ("stdin", "stdout", "stderr")
HOOKS = ("excepthook", "unraisablehook", "displayhook", "breakpointhook", "exit", *(f"__{name}__" for name in STREAMS))
SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
)
TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")


class TimedOut(BaseException):
    """The time is up. This is no Exception, so a script's ``except Exception`` does not catch it."""


@contextmanager
def restored(*, alarm: bool = True) -> Iterator[Interpreter]:
    """Restore at the end what a script may change: interpreter, streams, directory, environment.

    Parameters
    ----------
    alarm : bool
        Whether :meth:`Interpreter.repair` restores the alarm signal too. A time limit needs that signal.
    """
    ours = Interpreter(alarm)
    try:
        yield ours
    finally:
        ours.repair()
        ours.put_back()


class Interpreter:
    """The state that the tool's code relies on, as it was before the script."""

    def __init__(self, alarm: bool) -> None:
        self._home: str | None = None
        # They are looked up now, since a script may delete the builtins.
        self._builtins, self._names = vars(builtins), dict(vars(builtins))
        self._modules, self._loaded = sys.modules, dict(sys.modules)
        self._main = self._loaded.pop("__main__", None)
        self._lists = [(name, getattr(sys, name), list(getattr(sys, name))) for name in ("meta_path", "path_hooks")]
        self._path, self._search = sys.path, list(sys.path)
        self._argv, self._arguments = sys.argv, list(sys.argv)
        self._streams = {name: getattr(sys, name) for name in STREAMS}
        self._hooks = {name: getattr(sys, name) for name in HOOKS}
        self._filters = list(warnings.filters)
        self._settings = [(getter(), getter, setter) for getter, setter in SETTINGS]
        self._errors = np.geterr()
        self._mask = os.umask(0)
        os.umask(self._mask)
        self._environment, self._variables = os.environ, dict(os.environ)
        self._signals = _Signals(alarm) if threading.current_thread() is threading.main_thread() else None
        self._descriptors = [_Descriptor(number) for number in (0, 2)]
        self._directory: str | None = None
        with suppress(OSError):
            self._directory = os.getcwd()
        self._dtype = get_default_dtype()

    def put_first(self, folder: str) -> None:
        """Let imports search a folder before all others."""
        self._home = folder
        sys.path.insert(0, folder)
        self._loaded |= give_way(folder)

    def repair(self) -> None:
        """Restore what the tool's code needs from the interpreter. The script's main module, path and output stay."""
        self._builtins.update(self._names)
        sys.modules = self._modules
        self._modules.update(self._loaded)
        for before, getter, setter in self._settings:
            if getter() is not before:
                setter(before)
        for name, value, content in self._lists:
            value[:] = content
            setattr(sys, name, value)
        # The script may still import from what it has added to the path, but after all that the tool needs.
        now = getattr(sys, "path", None)
        entries = (*self._path, *(now if isinstance(now, list) else ()))
        added = [entry for entry in entries if isinstance(entry, str) and entry not in self._search]
        self._path[:] = [*self._search, *dict.fromkeys(added)]
        sys.path = self._path
        if warnings.filters != self._filters:
            # This also tells the interpreter to forget what it remembers of the filters.
            warnings.resetwarnings()
            warnings.filters[:] = self._filters  # type: ignore[index]
        np.seterr(**self._errors)
        os.umask(self._mask)
        if self._signals is not None:
            self._signals.put_back()
        for descriptor in self._descriptors:
            descriptor.put_back()
        sys.stdin = self._streams["stdin"]
        sys.stderr = self._streams["stderr"] = _alive(self._streams["stderr"], 2)

    def put_back(self) -> None:
        """Restore the rest, when nothing of the script is needed any more."""
        set_default_dtype(self._dtype)
        for descriptor in self._descriptors:
            descriptor.close()
        self._path[:] = self._search
        self._argv[:] = self._arguments
        sys.argv = self._argv
        for name, value in (self._streams | self._hooks).items():
            setattr(sys, name, value)
        sys.stdout = _alive(sys.stdout, 1)
        if self._home is not None:
            forget(self._home, self._loaded)
        if self._main is not None:
            sys.modules["__main__"] = self._main
        os.environ = self._environment  # noqa: B003
        if os.environ != self._variables:
            os.environ.clear()
            os.environ.update(self._variables)
        if self._directory is not None:
            with suppress(OSError):
                os.chdir(self._directory)


class _Signals:
    """The handlers, the mask and the timers of signals."""

    def __init__(self, alarm: bool) -> None:
        self._handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else None
        self._timers = {
            number: signal.getitimer(number) for name in TIMERS if (number := getattr(signal, name, None)) is not None
        }
        if not alarm:
            del self._handlers[signal.SIGALRM], self._timers[signal.ITIMER_REAL]

    def put_back(self) -> None:
        for number, timer in self._timers.items():
            if signal.getitimer(number) != timer:
                signal.setitimer(number, *timer)
        for number, handler in self._handlers.items():
            # None stands for a handler that Python does not know and cannot set.
            if handler is not None and signal.getsignal(number) is not handler:
                with suppress(OSError, ValueError):
                    signal.signal(number, handler)
        if self._blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)


class _Descriptor:
    """An open file, kept under a second number in case the script closes or replaces the first number."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._kept: int | None = None
        with suppress(OSError):
            self._kept = _copy(number)
            self._file = _file_of(number)

    def put_back(self) -> None:
        """Give the number back to its file."""
        if self._kept is None or _file_of(self._number) == self._file:
            return
        if _file_of(self._kept) != self._file:
            # The script has closed the second number as well. The watching process, if any, still has the file open.
            flags = os.O_WRONLY | os.O_APPEND if self._number else os.O_RDONLY
            with suppress(OSError):
                self._kept = os.open(f"/proc/{os.getppid()}/fd/{self._number}", flags)
        if _file_of(self._kept) == self._file:
            os.dup2(self._kept, self._number)

    def close(self) -> None:
        if self._kept is not None and _file_of(self._kept) == self._file:
            os.close(self._kept)
        self._kept = None


def _copy(number: int) -> int:
    """A second number of an open file, above 2: the first three numbers belong to the streams, even when free."""
    copy = os.dup(number)
    if copy > 2:
        return copy
    try:
        return _copy(number)
    finally:
        os.close(copy)


def _file_of(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _alive(stream: Any, number: int) -> Any:
    """The stream. If the script has closed or detached it, a new one to the same place."""
    if stream is None:
        return None
    try:
        closed = stream.closed
    except ValueError:
        closed = True
    if not closed:
        return stream
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send standard output to standard error, for Python, for C code and for child processes alike."""
    _flush(sys.stdout)
    kept = _Descriptor(1)
    was_open = _file_of(1) is not None
    try:
        os.dup2(2, 1)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    # The script gets streams of its own. If it closes them, the tool can still print its messages.
    streams = (sys.stdout, sys.stderr) = (_stream(sys.stderr), _stream(sys.stderr))
    try:
        yield
    finally:
        # What a script prints at the exit of the interpreter (atexit, C buffers) must not get into a piped picture.
        atexit.unregister(_rest_to_stderr)
        atexit.register(_rest_to_stderr)
        for stream in (getattr(sys, "stdout", None), getattr(sys, "__stdout__", None), *streams):
            _flush(stream)
        if was_open:
            kept.put_back()
            kept.close()
        else:
            with suppress(OSError):
                os.close(1)


def _stream(stderr: Any) -> Any:
    """A stream to standard error that may be closed without closing standard error."""
    if stderr is None:
        return None
    buffer = getattr(stderr, "buffer", None)
    # A stream in memory may return the number of a file that it does not write to.
    raw = getattr(buffer, "raw", buffer)
    try:
        number = raw.fileno() if isinstance(raw, io.FileIO) else None
    except (OSError, ValueError):
        number = None
    if number is None:
        return _Borrowed(stderr)
    return open(number, "w", encoding=stderr.encoding, errors="backslashreplace", buffering=1, closefd=False)


class _Borrowed(io.TextIOBase):
    """Writes to a stream in memory, which tests and notebooks have in place of a file."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.buffer = getattr(stream, "buffer", None)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        written: int = self._stream.write(text)
        return written

    def flush(self) -> None:
        _flush(self._stream)


def _flush(stream: Any) -> None:
    # It may be an object of the script, which may do anything.
    with suppress(Exception, SystemExit, GeneratorExit):
        stream.flush()


def _rest_to_stderr() -> None:
    _flush(getattr(sys, "stdout", None))
    with suppress(OSError):
        os.dup2(2, 1)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise :class:`TimedOut` when the time is up. A script that does not stop is ended by the watching process."""
    if seconds is None:
        yield
        return
    over = rang = False

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal rang
        if not over:
            rang = True
            raise TimedOut

    before = signal.signal(signal.SIGALRM, ring)
    if watch.board is not None:
        watch.board.limit(seconds)
    # It rings again every second, for scripts that catch everything.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        try:
            yield
            if rang:
                raise TimedOut
        finally:
            over = True
    finally:
        # Set again, since the alarm may have rung between the end of the block and the line above.
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if watch.board is not None and not rang:
            watch.board.lift()
