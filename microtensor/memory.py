"""An option for large arrays: freed memory stays in the process, and is not handed back to the kernel."""

from __future__ import annotations

M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


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
