"""Where results go: to standard output, or to a file. A file is written completely, or left as it was."""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from typing import IO, Any

import click

from microtensor.atomic import replacing
from microtensor.text import LINE, safe_lines, safe_text

ERROR, USAGE = 1, 2


class CommandError(click.ClickException):
    """An error with its exit code, and details that are printed before its message."""

    def __init__(self, message: str, exit_code: int = ERROR, details: str = "") -> None:
        super().__init__(message)
        # Click declares it for the class alone.
        vars(self)["exit_code"] = exit_code
        self.details = details

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the details and the message to standard error."""
        details = safe_lines(self.details)
        click.echo(details, nl=bool(details) and not details.endswith("\n"), err=True)
        super().show(file)


class Destination:
    """Standard output, or a file that is written completely or left as it was.

    Parameters
    ----------
    path : str or None
        None and ``-`` are standard output.
    no_clobber : bool
        Whether a file that exists is an error.
    """

    def __init__(self, path: str | None, no_clobber: bool = False) -> None:
        self.is_stdout = path in (None, "-")
        self.shown = safe_text(path or "-", LINE)
        self.path = os.path.abspath(path or "-")
        self.no_clobber = no_clobber
        opened = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", self.path)
        named = {"/dev/stdout": 1, "/dev/stderr": 2}.get(self.path, int(opened[1]) if opened else None)
        self.descriptor = 1 if self.is_stdout else named

    def check(self, *sources: str | None) -> None:
        """Raise if the file cannot be written. It is called before a script runs, so that no work is lost.

        Parameters
        ----------
        *sources : str or None
            Files that are read, which must not be replaced.

        Raises
        ------
        CommandError
            The file is one of the sources or a directory, its directory does not exist, it exists and must not be
            replaced, or it is read-only.
        """
        if self.descriptor is not None:
            return
        if os.path.isdir(self.path):
            raise self._failure("it is a directory")
        parent = os.path.dirname(os.path.realpath(self.path))
        if not os.path.isdir(parent):
            raise self._failure(f"the directory {safe_text(parent, LINE)} does not exist; make it first")
        if not os.path.exists(self.path):
            return
        for source in sources:
            if source is not None and os.path.exists(source) and os.path.samefile(self.path, source):
                raise CommandError(f"-o {self.shown} is the target script itself; name another file", USAGE)
        if self.no_clobber and self._is_regular():
            raise self._failure("it exists; drop --no-clobber to replace it")
        if not os.access(self.path, os.W_OK):
            raise self._failure("Permission denied")

    def write(self, data: bytes) -> None:
        """Write the file, and turn an error into a CommandError."""
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
                # A temporary file would take the place of a pipe or a device.
                with open(os.open(self.path, os.O_WRONLY), "wb") as file:
                    file.write(data)
        except BrokenPipeError:
            raise click.exceptions.Exit(ERROR) from None
        except FileExistsError:
            raise self._failure("it exists; drop --no-clobber to replace it") from None
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error

    def _is_regular(self) -> bool:
        try:
            return stat.S_ISREG(os.stat(self.path).st_mode)
        except FileNotFoundError:
            return True

    def _failure(self, why: str) -> CommandError:
        return CommandError(f"cannot write {self.shown}: {why}")


def print_bytes(data: bytes) -> None:
    """Write bytes to standard output. If the program that reads it has ended, exit without a message."""
    if sys.stdout is None:
        raise CommandError("cannot write: standard output is closed")
    stream = sys.stdout.buffer
    try:
        stream.write(data)
        stream.flush()
    except OSError as error:
        # Drop what is still buffered, or the interpreter would complain about it at its exit.
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise click.exceptions.Exit(ERROR) from None
        raise CommandError(f"cannot write: {error.strerror}") from error
