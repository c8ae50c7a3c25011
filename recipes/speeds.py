"""How fast each variant of a study trains: steps per second, one run at a time on all cores.

    python recipes/speeds.py rnm_td3/patterns            # of recipes/studies/rnm_td3_patterns.yaml
    python recipes/speeds.py presets/Hopper-v5 --of runs/presets/Hopper-v5      # of a sweep's runs
    python recipes/speeds.py presets/Ant-v5 --of runs/presets/Ant-v5 --peers sbx/bin/python

With `--peers` those of `presets_peers.py` take their turns with them, by the Python that has them.

For a machine that does nothing else: what the runs of a sweep tell of their own speed is that of
one core with neighbours. Variants take turns, five of them if not told otherwise. Evaluation is not
timed, nor the first 2,000 steps, which have the first restructuring in them. The figures go to
`results/STUDY/speeds.json`, and from there into tables and pictures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from drawing.data import SPEEDS, rows
from figures import RESULTS, make, registry
from swept import STUDIES

from sparl.agents import OnPolicyAgent
from sparl.storage import RunFolder
from sparl.sweeps import Job, Study

WARM, TIMED = 2_000, 2_500
"""Steps before the clock starts, and timed steps."""
PEERS = ("sb3-sac", "sbx-crossq")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", metavar="STUDY", nargs="+", help="RECIPE/STUDY")
    parser.add_argument(
        "--of", nargs="+", type=Path, metavar="FOLDER", help="those of sweeps with runs of all"
    )
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="that has SBX")
    parser.add_argument("--turns", type=int, default=5, help="how often each is timed")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    for study in asked.studies:
        file = STUDIES / f"{study.replace('/', '_')}.yaml"
        given = [job for sweep in asked.of or () for job in jobs_of(sweep)]
        jobs = given or Study.read(file).jobs()
        if any(isinstance(job.agent, OnPolicyAgent) for job in jobs):
            raise SystemExit(f"{study}: an agent of it learns from rollouts, not at every step")
        of_each = list({job.variant: job for job in reversed(jobs)}.values())
        found = measure(of_each, asked.peers, asked.turns)
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


def measure(jobs: Sequence[Job], peers: Path | None, turns: int) -> dict[str, list[float]]:
    """Steps per second by variant, one for each turn."""
    contenders: dict[str, Callable[[], float]] = {j.variant: partial(speed, j) for j in jobs}
    if peers:
        contenders |= {who: partial(speed_of_peer, peers, who, jobs[0].env) for who in PEERS}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn, (name, timed) in product(range(turns), contenders.items()):
        found[name].append(timed())
        print(f"{turn + 1}: {name} {found[name][-1]:.0f} steps/s", flush=True)
    return found


def speed(job: Job) -> float:
    """Steps per second of a variant."""
    run = replace(job.run, steps=WARM + TIMED, eval_every=WARM + TIMED, eval_episodes=1)
    run = replace(run, log_every=WARM // 4)
    short = replace(job, run=run, agent=replace(job.agent, learning_starts=500))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [*short.words, "--out", str(out), "--quiet"]
        subprocess.run([sys.executable, "-m", "sparl", *words], check=True)
        clock = {int(r["step"]): float(r["wall_seconds"]) for r in rows(out / "metrics.csv")}
    return TIMED / (clock[WARM + TIMED] - clock[WARM])


def speed_of_peer(python: Path, who: str, env: str) -> float:
    """Steps per second of one of `presets_peers.py`."""
    recipe = Path(__file__).with_name("presets_peers.py")
    words = [python, recipe, "--timed", "--who", who, "--env", env]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
