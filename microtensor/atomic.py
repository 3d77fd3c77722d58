"""Files that are written completely or left as they were. They are written beside their place and moved in one step."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str], *, exclusive: bool = False) -> Iterator[BinaryIO]:
    """A file to write to. It takes the place of `path` at the end of the block; an exception leaves all as it was.

    A link is followed and kept. A new file gets its permissions from the umask. A replaced file keeps its permissions.
    A killed process may leave a file ``.microtensor-*.tmp`` behind, which may be deleted.

    Parameters
    ----------
    path : path
    exclusive : bool
        Whether it is an error that the file exists.

    Raises
    ------
    FileExistsError
        The file exists, and `exclusive` is True.
    OSError
        The path is a directory or a device, or cannot be written.

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
    # A file could be moved over these, although they cannot be written to.
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return stat.S_IMODE(mode)


def _sync_folder(folder: str) -> None:
    """Make the new name survive a power failure, where the system can. The file is in place in any case."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
