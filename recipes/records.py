"""What is worth keeping of runs: raw curves, and a few figures of each; drawn by `figures.py`."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from drawing.data import CURVES, RUNS, Rows, recorded, variants
from drawing.study import RATIO, SIZES
from jobs import Job

import sparl
from sparl.training import inspect

EPISODES = 100
"""Of a final policy, where a study asks for more than the evaluations of training."""


def curve(folder: Path) -> list[tuple[int, float]]:
    """(step, evaluation return) of every evaluation of a run."""
    with open(folder / "metrics.csv", encoding="utf-8") as file:
        return [
            (int(row["step"]), float(row["eval_return"]))
            for row in csv.DictReader(file)
            if row["eval_return"]
        ]


def keep(path: Path, new: dict[Job, Rows]) -> None:
    """Adds rows to a CSV file, or puts them in place of older ones of the same run.

    What another machine has recorded stays, though its run folders are not here.
    """
    found = recorded(path)
    for job, rows in new.items():
        name, seed = job.variant.name, job.seed
        found[name, seed] = [{"env": job.env, "variant": name, "seed": str(seed)} | r for r in rows]
    names = variants(found)
    found = dict(sorted(found.items(), key=lambda item: (names.index(item[0][0]), item[0][1])))
    every = [row for rows in found.values() for row in rows]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(every[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(every)


def record(jobs: Sequence[Job], runs: Path, results: Path) -> None:
    """Adds runs that are done to the raw curves (`curves.csv`) and to what is known of each run
    beside its curve (`runs.csv`)."""
    results.mkdir(parents=True, exist_ok=True)
    done = {job: job.folder(runs) for job in jobs if job.done(runs)}
    keep(
        results / CURVES,
        {
            job: [{"step": str(s), "eval_return": str(value)} for s, value in curve(folder)]
            for job, folder in done.items()
        },
    )
    keep(results / RUNS, {job: [_figures(folder)] for job, folder in done.items()})


def _figures(folder: Path) -> dict[str, str]:
    """Of a run that is done: its policy's sizes, and the compression of all networks, averaged over
    all updates."""
    (policy,) = inspect(folder / "policy")["networks"].values()
    summary = json.loads((folder / "summary.json").read_text())
    sizes = {key: str(policy[key]) for key in SIZES}
    return {"steps": str(summary["steps"]), **sizes, RATIO: f"{summary[RATIO]:.4f}"}


def play(results: Path, done: dict[Job, Path]) -> None:
    """Mean returns of the final policies over 100 episodes that no evaluation was made with, into
    `final_100_episodes.csv`."""
    results.mkdir(parents=True, exist_ok=True)
    played: dict[Job, Rows] = {}
    for job, folder in done.items():
        evaluation = sparl.Run(folder).evaluate(EPISODES, seed=1_000 + job.seed)
        mean, std = f"{evaluation.mean_return:.1f}", f"{evaluation.std_return:.1f}"
        played[job] = [{"mean_return": mean, "std_return": std}]
        print(f"{job.variant.name}, seed {job.seed}: {mean} over {EPISODES} episodes")
    keep(results / "final_100_episodes.csv", played)
