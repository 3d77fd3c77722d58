"""Where results go: to standard output, or into a file that is either written completely or left as it was."""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from typing import BinaryIO

import click

from microtensor.atomic import replacing
from microtensor.support.text import LINE, safe_text

ERROR, USAGE = 1, 2


class CommandError(Exception):
    """An error with its exit code, and what is printed before its message."""

    def __init__(self, message: str, exit_code: int = ERROR, details: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.details = details


class Destination:
    """A file that is either written completely or left as it was."""

    def __init__(self, shown: str, no_clobber: bool) -> None:
        self.shown = safe_text(shown, LINE)
        self.path = os.path.abspath(shown)
        self.no_clobber = no_clobber
        opened = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", self.path)
        self.descriptor = {"/dev/stdout": 1, "/dev/stderr": 2}.get(self.path, int(opened[1]) if opened else None)

    def check(self, source: str | None) -> None:
        """Refuse what cannot succeed, before a script has run for an hour."""
        if self.descriptor is not None:
            return
        if os.path.isdir(self.path):
            raise self._failure("it is a directory")
        parent = os.path.dirname(os.path.realpath(self.path))
        if not os.path.isdir(parent):
            raise self._failure(f"the directory {safe_text(parent, LINE)} does not exist; make it first")
        if not os.path.exists(self.path):
            return
        if source is not None and os.path.exists(source) and os.path.samefile(self.path, source):
            raise CommandError(f"-o {self.shown} is the target script itself; name another file", USAGE)
        if self.no_clobber and self._is_regular():
            raise self._exists()
        if not os.access(self.path, os.W_OK):
            raise self._failure("Permission denied")

    def write(self, data: bytes) -> None:
        """Write, and turn what goes wrong into a message."""
        try:
            if self.descriptor == 1:
                print_bytes(data)
            elif self.descriptor is not None:
                with open(os.dup(self.descriptor), "wb") as file:
                    file.write(data)
            elif self._is_regular():
                with replacing(self.path, exclusive=self.no_clobber) as file:
                    file.write(data)
            else:
                # No temporary file beside a pipe or a device: it would take the place of the thing itself.
                with open(os.open(self.path, os.O_WRONLY), "wb") as file:
                    file.write(data)
        except BrokenPipeError:
            raise click.exceptions.Exit(ERROR) from None
        except FileExistsError:
            raise self._exists() from None
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error

    def _is_regular(self) -> bool:
        try:
            return stat.S_ISREG(os.stat(self.path).st_mode)
        except FileNotFoundError:
            return True

    def _failure(self, why: str) -> CommandError:
        return CommandError(f"cannot write {self.shown}: {why}")

    def _exists(self) -> CommandError:
        return CommandError(f"cannot write {self.shown}: it exists; drop --no-clobber to replace it")


def print_bytes(data: bytes) -> None:
    """Write bytes to standard output; a reader that has gone away is not an error worth a word."""
    if sys.stdout is None:
        raise CommandError("cannot write: standard output is closed")
    stream = sys.stdout.buffer
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
        raise click.exceptions.Exit(ERROR) from None
    except OSError as error:
        _discard(stream)
        raise CommandError(f"cannot write: {error.strerror}") from error


def _discard(stream: BinaryIO) -> None:
    """Send what is still buffered nowhere, or the interpreter would complain about it at its exit."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
