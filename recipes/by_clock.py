"""By the clock: presets at 1:8, also wider, beside dense, *tiny* and peers: what ten minutes buy.

    python -m venv sbx && sbx/bin/pip install sbx-rl "gymnasium[mujoco]"
    python recipes/by_clock.py --peers sbx/bin/python            # all of it: a day on two cores
    python recipes/by_clock.py --peers sbx/bin/python --tasks Ant-v5 --seeds 2      # a part

Three recipes one after the other, for each task. `presets.py` trains ours. `speeds.py` measures the
steps per second of all of them in turns, on a machine that does nothing else. Those of ours for
which ten minutes buy more steps than the preset has are trained anew, for as many; so are the
peers, by `presets_peers.py`, one on each core. Stop it, and the same command goes on with what is
missing. `by_clock.md` and `by_clock.png` go to `results/presets/`.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from queue import SimpleQueue

from drawing import by_clock
from drawing.data import CURVES, SPEEDS, recorded, speeds
from figures import RESULTS, make
from speeds import PEERS, jobs_of
from swept import ROOT, add

import sparl
from sparl.config import options, run_file
from sparl.sweeps.study import NOT_OPTIONS

HERE, PRESETS = Path(__file__).resolve().parent, RESULTS / "presets"
TASKS = ("Walker2d-v5", "Ant-v5", "Humanoid-v5")
WIDE = 512
"""Width of further critics at 1:8, where the preset's are narrower."""
EVERY = 5_000
"""Steps between two evaluations of a peer."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, metavar="PYTHON", required=True, help="that has SBX")
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="presets with continuous actions")
    parser.add_argument("--seeds", type=int, default=5, help="how many of each")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "presets")
    asked = parser.parse_args()
    last = asked.seeds - 1
    for task in asked.tasks:
        critics = options.parse(["--preset", task]).agent.critic_hidden
        wider = ("--critics", WIDE) if WIDE not in critics else ()
        of = "--presets", task, "--seeds", f"0-{last}", "--runs", asked.runs, *wider
        run(sys.executable, "presets.py", *of)
        sweeps = [asked.runs / task, *([asked.runs / f"{task}-critics"] if wider else [])]
        if PEERS[0] not in speeds(PRESETS / task / SPEEDS):
            study = f"presets/{task}", "--of", *sweeps, "--peers", asked.peers
            run(sys.executable, "speeds.py", *study)
        train_longer(task, sweeps, f"0-{last}", asked.runs / f"{task}-{by_clock.LONGER}")
        train_peers(asked.peers, task, asked.seeds)
    make(by_clock.outputs(PRESETS))
    print((PRESETS / "by_clock.md").read_text())


def train_longer(task: str, sweeps: Sequence[Path], seeds: str, out: Path) -> None:
    """Runs of ours that last as long as the picture does, where those of the sweeps end before."""
    measured = speeds(PRESETS / task / SPEEDS)
    jobs = {job.variant: job for path in sweeps for job in jobs_of(path)}
    variants = {}
    for name, job in jobs.items():
        if (steps := bought(measured[name], job.run.eval_every)) > job.steps:
            options = run_file.options_of_run(job.run, job.agent, job.method) | {"steps": steps}
            variants[name] = {k: v for k, v in options.items() if k not in NOT_OPTIONS}
    if variants:
        sparl.sweep({"envs": [task], "seeds": seeds, "variants": variants}, out=out)
        add(out / task, PRESETS / task / by_clock.LONGER)


def bought(speed: float, every: int) -> int:
    """Steps that the picture's minutes buy, up to the evaluation that ends them."""
    return every * math.ceil(60 * by_clock.LONGEST * speed / every)


def train_peers(python: Path, task: str, seeds: int) -> None:
    """The runs of peers that are not recorded yet, one on each core."""
    measured, done = speeds(PRESETS / task / SPEEDS), recorded(PRESETS / task / CURVES)
    free: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        free.put(core)

    def train(who: str, seed: int) -> None:
        core, steps = free.get(), bought(measured[who], EVERY)
        words = "--who", who, "--env", task, "--seed", seed, "--steps", steps, "--core", core
        try:
            run(python, "presets_peers.py", *words)
        finally:
            free.put(core)

    missing = [of for of in product(PEERS, range(seeds)) if of not in done]
    with ThreadPoolExecutor(free.qsize()) as pool:
        list(pool.map(lambda of: train(*of), missing))


def run(python: Path | str, recipe: str, *words: object) -> None:
    """One of the recipes, in a process of its own."""
    subprocess.run([str(python), str(HERE / recipe), *map(str, words)], check=True)


if __name__ == "__main__":
    main()
