"""How fast each variant of a study trains: steps per second, one run at a time on all cores.

    python recipes/speeds.py rnm_td3/patterns            # of recipes/studies/rnm_td3_patterns.yaml
    python recipes/speeds.py presets/Hopper-v5 --of runs/presets/Hopper-v5      # of a sweep's runs

For a machine that does nothing else: what the runs of a sweep tell of their own speed is that of
one core with neighbours. Variants take turns, three times. Evaluation is not timed, nor the first
2,000 steps, which have the first restructuring in them. The figures go to
`results/STUDY/speeds.json`, and from there into tables and pictures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from drawing.data import SPEEDS, rows
from figures import RESULTS, make, registry
from swept import STUDIES

from sparl.agents import OnPolicyAgent
from sparl.storage import RunFolder
from sparl.sweeps import Job, Study

WARM, TIMED, REPETITIONS = 2_000, 2_500, 3
"""Steps before the clock starts, and timed steps; how often each variant is timed."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", metavar="STUDY", nargs="+", help="RECIPE/STUDY")
    parser.add_argument("--of", type=Path, metavar="FOLDER", help="a sweep's, with runs of all")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    for study in asked.studies:
        file = STUDIES / f"{study.replace('/', '_')}.yaml"
        jobs = jobs_of(asked.of) if asked.of else Study.read(file).jobs()
        if any(isinstance(job.agent, OnPolicyAgent) for job in jobs):
            raise SystemExit(f"{study}: an agent of it learns from rollouts, not at every step")
        found = measure(list({job.variant: job for job in reversed(jobs)}.values()))
        path = asked.results / study / SPEEDS
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        made = (output for output in registry(asked.results) if path in output.data)
        make(output for output in made if not output.missing())


def jobs_of(sweep: Path) -> list[Job]:
    """The runs in the folder of a sweep."""
    found = []
    for config in sorted(sweep.glob("*/*/config.json")):
        variant, _, seed = config.parent.name.rpartition("-")
        run, agent, method, _ = RunFolder.open(config.parent).record()
        found.append(Job(run.env, variant, int(seed), run, agent, method))
    return found


def measure(jobs: Sequence[Job]) -> dict[str, list[float]]:
    """Steps per second by variant, one for each repetition."""
    found: dict[str, list[float]] = {job.variant: [] for job in jobs}
    for repetition, job in product(range(REPETITIONS), jobs):
        run = replace(job.run, steps=WARM + TIMED, eval_every=WARM + TIMED, eval_episodes=1)
        run = replace(run, log_every=WARM // 4)
        short = replace(job, run=run, agent=replace(job.agent, learning_starts=500))
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            words = [*short.words, "--out", str(out), "--quiet"]
            subprocess.run([sys.executable, "-m", "sparl", *words], check=True)
            clock = {int(r["step"]): float(r["wall_seconds"]) for r in rows(out / "metrics.csv")}
        found[job.variant].append(TIMED / (clock[WARM + TIMED] - clock[WARM]))
        told = f"{job.variant} {found[job.variant][-1]:.0f} steps/s"
        print(f"{repetition + 1}: {told}", flush=True)
    return found


if __name__ == "__main__":
    main()
