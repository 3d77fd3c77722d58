"""Options of the process: freed memory stays in it, and Python searches for garbage more rarely."""

from __future__ import annotations

import gc

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1
# New objects before a search of the youngest generation, and searches of it before one of the next.
RARELY = (50_000, 20, 100)


def keep_memory() -> bool:
    """Ask the C library to keep the memory of freed arrays for the next ones.

    By default glibc returns large blocks to the kernel. Then each new array of about 0.1 MiB or more is mapped again,
    page by page. On big networks that can cost as much as the arithmetic. After this call, the process keeps the
    largest amount of memory that it has needed. The call concerns the whole process, so it is never made at import.

    Returns
    -------
    bool
        Whether it took effect. It does on Linux with glibc; elsewhere nothing happens.

    Notes
    -----
    ``mallopt(M_MMAP_MAX, 0)`` and ``mallopt(M_TRIM_THRESHOLD, 2³¹ − 1)``; see mallopt(3).

    Examples
    --------
    >>> import microtensor as mt
    >>> isinstance(mt.keep_memory(), bool)
    True
    """
    import ctypes

    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - only glibc has it, and only its numbers are these
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


def tune_memory() -> None:
    """Set the process up for training: call :func:`keep_memory`, and let Python search for garbage more rarely.

    Python searches its objects for unreachable cycles each time when some hundred new ones have been made. The record
    of a computation has many objects and no cycles, so the searches find nothing. After this call, Python searches
    after 50,000 new objects. A collector that is switched off stays off, and a larger threshold stays as it is. Memory
    that is held in cycles is freed later. The call concerns the whole process, so it is never made at import. It is
    made by the command ``microtensor``.

    Examples
    --------
    >>> import microtensor as mt
    >>> mt.tune_memory()
    """
    keep_memory()
    now = gc.get_threshold()
    # A first threshold of 0 means never.
    if now[0]:
        gc.set_threshold(*map(max, now, RARELY))
