"""The first moments of a run's process: it takes one core, and ends with the sweep.

A script of its own, which becomes the command behind its first two arguments: the number of the
process that started it, and the core. Doing the same in that process, between its fork and the
command, is not safe where there are threads, as JAX has them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Of Linux: see prctl(2)."""


def end_with(parent: int) -> None:
    """Has the kernel kill this process when the sweep is killed.

    The run resumes from its newest checkpoint. Without this it would go on unseen, and the same
    sweep begun again would find its folder in use.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has gone before
        sys.exit(1)


def main() -> None:
    """Takes the core, and becomes the command."""
    parent, core, *command = sys.argv[1:]
    end_with(int(parent))
    if sys.platform == "linux":
        os.sched_setaffinity(0, {int(core)})
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
