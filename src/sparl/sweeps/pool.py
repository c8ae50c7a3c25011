"""Processes of `sparl train`, a core each.

Two runs on two cores make more steps in an hour than two runs one after the other that share both.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from sparl.storage.system import WINDOWS
from sparl.sweeps import child

THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which XLA and others are told how many threads to start."""

STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
"""The request to save and to stop. In the background SIGINT is ignored; Windows' SIGTERM kills."""


def usable_cores() -> list[int]:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


class Pool:
    """Runs side by side; a context that leaves no process behind."""

    def __init__(self, cores: Sequence[int], size: int) -> None:
        """
        Args:
            cores: Those to use. Of more runs than cores several share one.
            size: Runs side by side.
        """
        self._cores, self._size = list(cores), size
        self._running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        for process, _ in self._running.values():
            process.wait()

    @property
    def free(self) -> bool:
        """Whether another run may start."""
        return len(self._running) < self._size

    @property
    def running(self) -> list[str]:
        """The names of the runs that have not ended yet."""
        return list(self._running)

    def start(self, name: str, words: Sequence[str], log: Path) -> None:
        """Starts `sparl WORDS…` on the core with the fewest runs; what it prints goes to `log`."""
        busy = Counter(core for _, core in self._running.values())
        core = min(self._cores, key=lambda core: busy[core])
        # What can be imported here can be imported there, as processes of multiprocessing do it.
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        # -P keeps the folder of the script out of sys.path, where its modules could hide others.
        start = [sys.executable, "-P", child.__file__, str(os.getpid()), str(core)]
        start = [] if WINDOWS else start  # where no process becomes another one
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [*start, sys.executable, "-m", "sparl", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": paths},
                # A terminal's Ctrl-C is the sweep's, which tells the runs; on Windows by the flag.
                process_group=0,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self._running[name] = process, core

    def ended(self) -> dict[str, int]:
        """The runs that have ended since the last call, with their exit status."""
        found = {}
        for name, (process, _) in list(self._running.items()):
            status = process.poll()
            if status is not None:
                found[name] = status
                del self._running[name]
        return found

    def stop(self, names: Collection[str] | None = None) -> None:
        """Asks runs, all if not named, to save and to stop; asked once more they leave at once."""
        for name, (process, _) in self._running.items():
            if names is None or name in names:
                process.send_signal(STOP)
