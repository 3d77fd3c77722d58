"""What the command needs before anything else is imported: Python's modules, and a quiet end by Ctrl-C."""

from __future__ import annotations

import sys


def as_command() -> None:
    """Prepare for the imports that follow, where Python was started to run the command; elsewhere do nothing.

    ``python -m microtensor`` has put the current directory first on the path: a learner's ``random.py`` or
    ``copy.py`` there would be imported in the place of Python's.
    """
    program = getattr(sys, "argv", [""])[:1]
    module = program == ["-m"] and _after("-m", sys.orig_argv) == "microtensor"
    if module and not sys.flags.safe_path:
        del sys.path[0]
    if module or (program and program[0].replace("\\", "/").rpartition("/")[2] in ("microtensor", "microtensor.exe")):
        _end_quietly()


def _after(option: str, arguments: list[str]) -> str:
    return arguments[arguments.index(option) + 1] if option in arguments[:-1] else ""


def _end_quietly() -> None:
    import os
    import signal

    def end(*_: object) -> None:
        os.write(2, b"Interrupted\n")
        os._exit(130)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)


as_command()
