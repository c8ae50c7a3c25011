"""Kill a run with SIGKILL at random moments, resume it each time, and compare the end byte by byte.

    python recipes/kill_and_resume.py --kills 10
    python recipes/kill_and_resume.py --env Pendulum-v1 --steps 3000 -- --method rnm --hidden 32 32

One run is never interrupted; each trial is a run killed once, at a moment drawn from the whole
length of the first, and resumed. Compared are the bytes of `policy/`, `restructures.csv`, and
`metrics.csv` but for its columns of times. Options after -- go to `sparl train`.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sparl.training import TIMES


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "sparl", "train", *arguments, "--quiet"])


def outcome(run: Path) -> dict[str, object]:
    """All that must not depend on interruptions."""
    with open(run / "metrics.csv", encoding="utf-8") as file:
        rows = [{k: v for k, v in r.items() if k not in TIMES} for r in csv.DictReader(file)]
    other = run / "restructures.csv"
    return {
        "policy": {path.name: path.read_bytes() for path in sorted((run / "policy").iterdir())},
        "metrics.csv": rows,
        "restructures.csv": other.read_text() if other.exists() else "",
    }


def trial(options: list[str], run: Path, moment: float) -> str:
    """Kills a run after `moment` seconds and resumes it; says where it had been."""
    process = start([*options, "--out", str(run)])
    try:
        process.wait(moment)
        return "had ended already"
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    saved = sorted((run / "checkpoints").glob("step-*"))
    if (run / "config.json").exists():
        again = start(["--resume", str(run)])
    else:
        again = start([*options, "--out", str(run)])
    if again.wait() != 0:
        return "could not be resumed"
    return f"resumed from {saved[-1].name}" if saved else "started over"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("options", nargs="*", help="of sparl train, after --")
    asked = parser.parse_args()
    often = "--learning-starts 1000 --checkpoint-every 1000 --eval-every 2000 --eval-episodes 2"
    chosen = asked.options or ["--method", "rnm", "--pattern", "2:4", "--interval", "500"]
    options = [asked.env, "--steps", str(asked.steps), *often.split(), *chosen]
    draw = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        began = time.monotonic()
        if start([*options, "--out", str(whole)]).wait() != 0:
            return 1
        seconds = time.monotonic() - began
        print(f"never interrupted: {seconds:.0f} s", flush=True)
        expected, differing = outcome(whole), 0
        for number in range(asked.kills):
            run = Path(folder) / f"killed-{number}"
            moment = draw.uniform(0, seconds)
            told = trial(options, run, moment)
            found = outcome(run)
            other = [name for name in expected if found[name] != expected[name]]
            differing += bool(other)
            verdict = f"DIFFERS in {', '.join(other)}" if other else "same bytes"
            print(f"killed after {moment:5.1f} s, {told}: {verdict}", flush=True)
            shutil.rmtree(run)
    print(f"{asked.kills - differing} of {asked.kills} ended with the same bytes")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
