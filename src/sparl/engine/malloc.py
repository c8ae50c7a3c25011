"""Keeps the memory that one update frees for the next one.

An update allocates memory for what it computes and frees it at its end. glibc returns free memory
at the end of its heap to the system when there is more of it than a threshold. The threshold
depends on the sizes that were allocated before. If an update needs more than that, every update
gets new pages and takes a page fault for each. With TD3's 2x1024 at 1:8 that took a seventh of the
time, in some processes and not in others.
"""

from __future__ import annotations

import ctypes
import os
import platform

CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Environment variables by which users set the same thresholds; their values are kept."""

# The numbers of these options in malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 2**30
"""Most bytes at the end of the heap that are not returned to the system."""
LARGEST = 2**25
"""Bytes from which on an array has its own mapping, whose pages are returned when it is freed. This
is the largest value that glibc takes."""


def keep_freed() -> bool:
    """Makes glibc keep freed memory in this process.

    Returns:
        Whether it was set. It is not if malloc is not glibc's, or if the user has set one of
        `CHOSEN`.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in CHOSEN):
        return False
    set_option = ctypes.CDLL(None).mallopt
    return bool(set_option(M_TRIM_THRESHOLD, KEPT) and set_option(M_MMAP_THRESHOLD, LARGEST))
