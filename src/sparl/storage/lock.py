"""The lock by which one process at a time writes a folder: of POSIX, or of Windows."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def lock(file: IO[str]) -> None:
    """Locks an open file until it is closed, or its process ends, however that ends.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: The file system has no locks.
    """
    if fcntl is not None:
        # A record lock, because forked processes do not inherit it: they may outlive this one.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    except OSError as error:
        raise BlockingIOError(*error.args) from error
