"""How many threads a run computes with, and whether others want the same cores."""

from __future__ import annotations

import os
import sys

from sparl import validation
from sparl.errors import BadValue

VARIABLE = "NPROC"
"""By this environment variable XLA is told how many threads to start; our kernels use the same."""

MOST = 1024
"""Threads that may be asked for; XLA starts all of them at once."""


def limit_threads(threads: int | None) -> None:
    """Lets JAX compute with so many threads; None leaves that to it: one for each core.

    It holds for processes in which nothing was computed yet, because JAX starts its threads once.
    Elsewhere set the variable NPROC before Python starts.

    Raises:
        BadValue: It is below 1, or above `MOST`.
    """
    if threads is not None:
        validation.at_least(1, threads=threads)
        if threads > MOST:
            raise BadValue(f"threads is {threads}: it must be at most {MOST}")
        os.environ[VARIABLE] = str(threads)


def busy_note() -> str | None:
    """A sentence for a run that has to share its cores with other processes; None elsewhere."""
    if sys.platform == "win32":  # it does not count them
        return None
    try:
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
    except OSError:
        return None
    threads = _threads(cores)
    if load < max(1.0, cores - threads + 1):
        return None
    busy = f"other processes are at work (load average {load:.1f} on {cores} cores)"
    if threads == 1:
        return f"{busy}: this run has to share one with them, and both are slower"
    return (
        f"{busy}, and this run computes with {threads} threads. Runs side by side get more done "
        "with a thread each: --threads 1, or NPROC=1 before Python starts"
    )


def _threads(cores: int) -> int:
    given = os.environ.get(VARIABLE, "")
    if given.isdecimal() and int(given):
        return int(given)
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return len(affinity(0)) if affinity else cores
