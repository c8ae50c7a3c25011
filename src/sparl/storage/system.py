"""What operating systems do in different ways: locks, renames, flushes of folders, links."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

WINDOWS = sys.platform == "win32"
PATIENCE = 5.0
"""Seconds that somebody else may have a file open which is to be renamed on Windows."""


def lock(file: IO[str]) -> None:
    """Locks an open file until it is closed, or its process ends, however that ends.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: The file system has no locks.
    """
    if sys.platform == "win32":
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
    else:
        # A record lock, because forked processes do not inherit it: they may outlive this one.
        # Libraries of locks take flock, which they do inherit.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def rename(old: Path, new: Path) -> None:
    """Renames a file, also to the name of another one, or a folder.

    On Windows neither goes while somebody reads there, a report or a virus scanner; this waits for
    them.

    Raises:
        OSError: It cannot be renamed.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(old, new)
            return
        except PermissionError:
            if not WINDOWS or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut."""
    if WINDOWS:  # it opens no folders, and writes renames through
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_links(path: str, flags: int) -> int:
    """An opener that follows no link: a run folder of others must not lead to a file elsewhere."""
    # Windows has no such flag, and makes links for administrators alone.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
