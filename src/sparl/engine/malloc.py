"""Memory that updates free is kept for the next update.

An update allocates what it computes on the way and frees it when it ends. glibc hands memory at the
end of its heap back to the system once there is more of it than a threshold, which follows the
sizes it has seen; where an update's memory is above that, every update gets fresh pages, one fault
for each. With TD3's 2x1024 at 1:8 that was a seventh of the time, in some processes and not in
others.
"""

from __future__ import annotations

import ctypes
import os
import platform

CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Variables by which a user sets the same; then theirs counts."""

# The names' numbers in malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 2**30
"""Bytes at the end of the heap that are not handed back."""
LARGEST = 2**25
"""Bytes from which on an array is mapped by itself, and its pages handed back when it is freed; no
more can be asked of glibc."""


def keep_freed() -> bool:
    """Sets it, for this process; False where it is not for us to set, or not glibc's malloc."""
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in CHOSEN):
        return False
    set_option = ctypes.CDLL(None).mallopt
    return bool(set_option(M_TRIM_THRESHOLD, KEPT) and set_option(M_MMAP_THRESHOLD, LARGEST))
