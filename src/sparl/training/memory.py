"""Whether a run will fit into the machine's memory and onto its disk, told before it begins."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sparl.config import RunConfig
from sparl.errors import BadValue
from sparl.replay import Columns
from sparl.storage import KEEP, RunFolder

NEAR = 0.7
"""Share of the free memory from which on a replay's size is told."""
CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files of a container's limit and use of memory, in both versions of control groups."""


class Memory(NamedTuple):
    """Bytes of memory that this process could have."""

    total: int
    free: int


def replay_note(run: RunConfig, columns: Columns) -> str | None:
    """A sentence on a replay that comes near to what is free; None for one that does not.

    Raises:
        BadValue: It is larger than all the memory there is.
    """
    memory, wanted = machine_memory(), _bytes(_rows(run), columns)
    if memory is None or wanted <= NEAR * memory.free:
        return None
    if wanted > memory.total:
        raise too_large(_rows(run), columns)
    return (
        f"the replay will take {size(wanted)} once it is full, and {size(memory.free)} are free "
        "now. A smaller buffer_size takes less"
    )


def disk_note(run: RunConfig, columns: Columns, learner: int, folder: RunFolder) -> str:
    """A sentence on what the run will take of memory and of the disk.

    Args:
        learner: Bytes of all networks, targets and moments.

    Raises:
        BadValue: A new run would fill the disk before it is at its end.
    """
    replay = _bytes(_rows(run), columns)
    wanted = replay + KEEP * learner
    there = next(path for path in folder.path.absolute().parents if path.exists())
    free = shutil.disk_usage(there).free
    if wanted > free and not folder.checkpoints.steps():
        raise BadValue(
            f"{folder.path} will take {size(wanted)} on the disk, {size(replay)} of them for the "
            f"replay, and {size(free)} are free. Make room, choose another out folder or a smaller "
            "buffer_size"
        )
    return (
        f"up to {size(replay)} of memory for the replay, and {size(wanted)} on the disk for "
        f"{KEEP} checkpoints that share it"
    )


def too_large(rows: int, columns: Columns) -> BadValue:
    """The error of a replay that there is no memory for."""
    memory = machine_memory()
    there = "" if memory is None else f" This machine has {size(memory.total)}."
    return BadValue(
        f"buffer_size is too large: a replay of {rows} transitions takes "
        f"{size(_bytes(rows, columns))}.{there} Choose a smaller one"
    )


def size(count: int) -> str:
    """A number of bytes for people."""
    for exponent, unit in enumerate(("bytes", "kB", "MB", "GB", "TB", "PB")):
        if count < 1000 ** (exponent + 1):
            return f"{count / 1000**exponent:.{1 if exponent else 0}f} {unit}"
    return f"{count / 1000**6:.1f} EB"


def machine_memory() -> Memory | None:
    """The memory of this machine, or of the container that this process is in; None if unknown."""
    if sys.platform == "win32":
        return None
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * page
        free = os.sysconf("SC_AVPHYS_PAGES") * page
    except (ValueError, OSError):  # macOS does not tell what is free
        return None
    with suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        total += 1024 * kilobytes["SwapTotal"]
        free = 1024 * (kilobytes["MemAvailable"] + kilobytes["SwapFree"])
    for limit_file, use_file in CONTROL_GROUPS:
        with suppress(OSError, ValueError):  # "max" is no limit
            limit = int(Path(limit_file).read_text(encoding="utf-8"))
            use = int(Path(use_file).read_text(encoding="utf-8"))
            total, free = min(total, limit), min(free, max(0, limit - use))
    return Memory(total, free)


def _rows(run: RunConfig) -> int:
    """Transitions that the replay can come to hold; pages that stay empty cost nothing."""
    # What another run had seen comes on top.
    return run.buffer_size if run.begun_from else min(run.buffer_size, run.steps)


def _bytes(rows: int, columns: Columns) -> int:
    return 4 * rows * columns.width
