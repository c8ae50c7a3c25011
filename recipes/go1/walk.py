"""How well a trained Go1 does what it is told: errors in m/s and rad/s, and falls.

    python recipes/go1/walk.py runs/go1                     # ahead at 1 m/s
    python recipes/go1/walk.py runs/go1 --commands any      # ahead, sideways, turning
    python recipes/go1/walk.py runs/go1/export/c-int8       # the exported C steers the robot

Zero actions, which stand, are shown beside. The gate (`gate.py`), here to both sides, is met when
every error is at most 0.25 and nothing falls; where it is not, the command ends with 1. `--csv
FILE` adds the figures to a table.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from environment import Go1
from gate import BOTH_WAYS, COMMANDS, Walked, walked
from numpy.typing import NDArray

import sparl


class Exported:
    """A policy that `sparl export` wrote as C, compiled and called."""

    def __init__(self, folder: Path) -> None:
        with tempfile.TemporaryDirectory() as built:
            library = f"{built}/policy.so"
            build = ["cc", "-O2", "-std=c99", "-shared", "-fPIC", "-o", library]
            subprocess.run([*build, folder / "policy.c", "-lm"], check=True)
            self._act = ctypes.CDLL(library).policy_act
        # `policy_scratch` is smaller than this for any network that fits such a robot.
        self._scratch = (ctypes.c_double * 8192)()

    def __call__(self, seen: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        state, action = np.ascontiguousarray(seen["state"]), np.empty(12, np.float32)
        pointers = (a.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for a in (state, action))
        if self._act(*pointers, self._scratch):
            raise ValueError("the exported policy refused an observation")
        return action


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder, a policy, or exported C")
    parser.add_argument("--which", choices=("best", "final"), default="final")
    parser.add_argument("--commands", choices=COMMANDS, default="forward")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--csv", type=Path, help="a table to add the figures to")
    parser.add_argument("--name", help="who it was, in the table; the folder if not given")
    options = parser.parse_args()
    if (options.run / "policy.c").exists():
        act: Callable[[Any], Any] = Exported(options.run)
    else:
        trained = sparl.load(options.run, which=options.which, trust=True)
        act = lambda seen: trained.predict(seen)[0]  # noqa: E731
    stands = np.zeros(12, np.float32)
    print(
        f"{'command':22} {'who':8} {'error':>6} {'ahead':>6} {'aside':>6} {'turn':>6} falls return"
    )
    found = []
    for name, command in BOTH_WAYS[options.commands].items():
        for who, acts in (("policy", act), ("zero", lambda seen: stands)):
            # One kind of environment for all: rewards differ between them.
            env = Go1(options.commands)
            row = walked(acts, command, options.episodes if who == "policy" else 1, env)
            speeds = " ".join(f"{v:6.2f}" for v in row.mean)
            figures = f"{row.error:6.2f} {speeds} {row.falls:5} {row.returned:6.0f}"
            print(f"{name:22} {who:8} {figures}")
            if who == "policy":
                found.append((name, row))
    if options.csv:
        add(options.csv, options.name or str(options.run), options.episodes, found)
    enough = all(row.is_enough for _, row in found)
    print("the gate is met" if enough else "the gate is not met")
    raise SystemExit(not enough)


def add(path: Path, who: str, episodes: int, found: list[tuple[str, Walked]]) -> None:
    """Adds a row for each command to a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(
                ("who", "command", "error", "ahead", "aside", "turning", "falls", "episodes")
            )
        for name, row in found:
            figures = (f"{v:.3f}" for v in (row.error, *row.mean))
            writer.writerow((who, name, *figures, row.falls, episodes))


if __name__ == "__main__":
    main()
