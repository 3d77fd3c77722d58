"""Runs the command in a process of its own and watches it. A script can end or hang that process, but not this one.

A script may call ``os._exit`` or ``os.exec``, crash in C code, or loop without letting a signal through. The watching
process survives this. It ends what must be ended, says why, and exits with the code that the help promises. The two
processes share a page of memory, which works even if the script closes all files. This is for Linux only; elsewhere
nothing is watched.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import NoReturn

from microtensor.text import safe_text

# The seconds that a script has to end by itself once its time is up, and the seconds between two looks at the clock.
GRACE, POLL = 3.0, 0.2
FAILED = 3
LONGEST = 1000

_KILL, _EXIT, _PID = os.kill, os._exit, os.getpid
_SUBREAPER, _DEATH_SIGNAL = 36, 1
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Board(ctypes.Structure):
    """The shared page. The watched process writes here: its script, until when it may run, and how it ended."""

    _fields_ = (
        ("owner", ctypes.c_long),
        ("begun", ctypes.c_bool),
        ("finished", ctypes.c_bool),
        ("code", ctypes.c_ubyte),
        ("seconds", ctypes.c_double),
        ("deadline", ctypes.c_double),
        ("target", ctypes.c_char * LONGEST),
    )

    @property
    def _is_ours(self) -> bool:
        # Processes that a script forks share the page as well, but must not write.
        return bool(self.owner == _PID())

    def begin(self, target: str) -> None:
        """Note that a script starts to run. From now on, it is the cause if the process fails."""
        if self._is_ours:
            self.target = target.encode("utf-8", "backslashreplace")[:LONGEST]
            self.begun = True

    def limit(self, seconds: float) -> None:
        """Note that the process may run for this many seconds from now on."""
        if self._is_ours:
            self.seconds, self.deadline = seconds, time.monotonic() + seconds

    def lift(self) -> None:
        """Note that the script has ended in time."""
        if self._is_ours:
            self.deadline = 0.0

    def finish(self, code: int) -> None:
        """Note the exit code. All is done, but the script may do work at its exit; this gets the same time again."""
        if self._is_ours:
            self.code, self.finished = code, True
            if self.seconds and not self.deadline:
                self.deadline = time.monotonic() + self.seconds


board: Board | None = None


def watched(run: Callable[[], object]) -> object:
    """Run a function that ends with a SystemExit. On Linux it runs in a watched process."""
    if not sys.platform.startswith("linux") or board is not None:
        return run()
    page = Board.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
    heard = {signal.SIGCHLD} | {getattr(signal, name) for name in _FORWARDED}
    heard = {number for number in heard if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN}
    children = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    _prctl(_SUBREAPER, 1)
    parent = _PID()
    child: int | None = None
    # If there can be no second process, the command runs unwatched.
    with warnings.catch_warnings(), contextlib.suppress(OSError):
        # NumPy's idle threads are no danger: its BLAS handles them when a process forks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        _watch(child, page, heard)
    signal.signal(signal.SIGCHLD, children)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if child is None:
        return run()
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        _EXIT(1)
    return _told(run, page)


def _told(run: Callable[[], object], page: Board) -> object:
    """Run, and write the exit code on the board."""
    global board
    board = page
    page.owner = _PID()
    try:
        return run()
    except SystemExit as stop:
        page.finish(stop.code if isinstance(stop.code, int) else int(stop.code is not None))
        raise


def _watch(child: int, page: Board, heard: set[signal.Signals]) -> NoReturn:
    """Wait for the process, pass signals on, and end it when its time is up. Then exit as it did."""
    passed_on: set[int] = set()
    end_at: float | None = None
    late = False
    status: int | None = None
    while status is None:
        told = signal.sigtimedwait(heard, POLL)
        # A signal from the keyboard goes to both processes. The system sends it, not a process.
        if told is not None and told.si_signo != signal.SIGCHLD and told.si_code <= 0:
            passed_on.add(told.si_signo)
            with contextlib.suppress(ProcessLookupError):
                _KILL(child, told.si_signo)
        status = _reaped(child)
        now = time.monotonic()
        if not page.deadline or status is not None:
            end_at = None
        elif now >= page.deadline:
            end_at = end_at or now + GRACE
            if now >= end_at:
                late = True
                _end_all(child)
                status = _reaped(child) or 0
    if page.deadline and time.monotonic() >= page.deadline:
        # The process stopped when its time was up. What it started is ended as well.
        _end_all(child)
    _exit_as(status, page, late, passed_on)


def _exit_as(status: int, page: Board, late: bool, passed_on: set[int]) -> NoReturn:
    code = page.code if page.finished else None
    if late:
        if code != FAILED:
            _say(page, f"script ran longer than {page.seconds:g} s and did not stop when told to; it was ended")
        _EXIT(FAILED)
    if code is not None:
        _EXIT(code)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if page.begun and number not in passed_on:
            what = signal.strsignal(number) or "unknown"
            _say(page, f"script's process was ended by signal {number} ({what}) before it was done")
            _EXIT(FAILED)
        # End by the same signal, as if there were no watcher.
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        _KILL(_PID(), number)
    code = os.waitstatus_to_exitcode(status)
    if page.begun:
        _say(page, f"script ended its process with status {code}, as os._exit does, and nothing was done")
        _EXIT(FAILED)
    _EXIT(code)


def _say(page: Board, what: str) -> None:
    shown = safe_text(page.target.decode("utf-8", "replace"), LONGEST)
    with contextlib.suppress(OSError):
        os.write(2, f"Error: {shown}: {what}\n".encode("utf-8", "backslashreplace"))


def _reaped(child: int) -> int | None:
    """The status of the process, if it has ended. Orphans of the script arrive here as well; they are ignored."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, its = os.waitpid(-1, os.WNOHANG)
            if ended == 0:
                break
            if ended == child:
                status = its
    return status


def _end_all(child: int) -> None:
    """End the process and all its descendants."""
    for _ in range(200):
        living = list(_descendants(_PID())) or [child]
        for pid in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                _KILL(pid, signal.SIGKILL)
        _reaped(child)
        time.sleep(0.01)
        if not list(_descendants(_PID())):
            return


def _descendants(ancestor: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                    state, parent, *_ = file.read().rpartition(b")")[2].split()
                    if state not in (b"Z", b"X"):
                        parents.setdefault(int(parent), []).append(int(name))
    todo = [ancestor]
    while todo:
        found = parents.get(todo.pop(), [])
        todo += found
        yield from found


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
