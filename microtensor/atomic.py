"""Files that are written completely or left as they were: written beside their place, moved there in one step."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str], *, exclusive: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when the block ends; an exception leaves all as it was.

    A link is followed and kept. A new file gets its permissions from the umask, a replaced one keeps them. What a
    killed process leaves behind is named ``.microtensor-*.tmp`` and may be deleted.

    Parameters
    ----------
    path : path
    exclusive : bool
        Whether a file that is there already is an error.

    Raises
    ------
    FileExistsError
        There is a file, and `exclusive` is set.
    OSError
        The place is a directory or a device, or cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from microtensor.atomic import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(os.path.join(folder, "a.txt")) as file:
    ...         before, _ = os.listdir(folder), file.write(b"whole")
    ...     before[0][:13], os.listdir(folder)
    ('.microtensor-', ['a.txt'])
    """
    final = os.path.realpath(path)
    folder = os.path.dirname(final)
    mode = _mode_of(final)
    temporary = os.path.join(folder, f".microtensor-{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    claimed = False
    try:
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.close(os.open(final, flags, 0o666))
            claimed = True
        elif mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, final)
    except BaseException:
        for leftover in (temporary, *([final] if claimed else [])):
            with suppress(OSError):
                os.unlink(leftover)
        raise
    _sync_folder(folder)


def _mode_of(path: str) -> int | None:
    """The permissions of the file that would be replaced, or None when there is none."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    # Moving a file over these would succeed where writing to them would not.
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return stat.S_IMODE(mode)


def _sync_folder(folder: str) -> None:
    """Make the new name last through a power failure, where the system can; the file is in place either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
