"""Many runs side by side, one core each, resumable; and tables of what they gave.

Two single-core runs on two cores make more steps in an hour than two runs one after the other
that share both. Run folders stay where `--runs` says; what is worth keeping goes to `results/`.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import trim_mean

ROOT = Path(__file__).resolve().parent.parent
FINAL = 10
"""Evaluations that a final return is the mean of, as in summary.json."""


@dataclass(frozen=True)
class Variant:
    """A name, and the options of `sparl train` that make it."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One variant with one seed."""

    variant: Variant
    seed: int
    env: str
    steps: int
    common: tuple[str, ...] = ()

    def folder(self, runs: Path) -> Path:
        return runs / f"{self.env}-{self.variant.name}-{self.seed}"

    def command(self, runs: Path) -> list[str]:
        folder = self.folder(runs)
        start = [sys.executable, "-m", "sparl", "train"]
        if (folder / "config.json").exists():
            return [*start, "--resume", str(folder), "--steps", str(self.steps)]
        return [
            *start,
            *(self.env, "--steps", str(self.steps), "--seed", str(self.seed)),
            *("--out", str(folder)),
            *self.variant.options,
            *self.common,
        ]

    def done(self, runs: Path) -> bool:
        path = self.folder(runs) / "summary.json"
        return path.exists() and json.loads(path.read_text())["steps"] >= self.steps


def run_all(jobs: Sequence[Job], runs: Path, cores: Sequence[int]) -> None:
    """Runs what is not done yet, in order, one job on each of `cores` at a time.

    A job that fails is told of and left; the others go on. Run again to go on with it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if not job.done(runs)]
    print(f"{len(jobs) - len(waiting)} of {len(jobs)} runs are done already", flush=True)
    free, running = list(cores), {}
    while waiting or running:
        while waiting and free:
            job, core = waiting.pop(0), free.pop()
            running[_start(job, runs, core)] = (job, core)
            print(f"core {core}: {job.variant.name}, seed {job.seed}", flush=True)
        pid, status = os.wait()
        job, core = running.pop(pid)
        free.append(core)
        ended = "done" if status == 0 else f"FAILED, see {job.folder(runs)}.log"
        print(f"core {core}: {job.variant.name}, seed {job.seed}: {ended}", flush=True)


def _start(job: Job, runs: Path, core: int) -> int:
    with open(f"{job.folder(runs)}.log", "a") as log:
        process = subprocess.Popen(
            job.command(runs),
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    return process.pid


def curve(folder: Path) -> list[tuple[int, float, float]]:
    """(step, evaluation return, wall seconds) of every evaluation of a run."""
    with open(folder / "metrics.csv") as file:
        return [
            (int(row["step"]), float(row["eval_return"]), float(row["wall_seconds"]))
            for row in csv.DictReader(file)
            if row["eval_return"]
        ]


def record(jobs: Sequence[Job], runs: Path, results: Path) -> None:
    """Writes the raw curves (`curves.csv`) and a table of final returns (`table.md`)."""
    results.mkdir(parents=True, exist_ok=True)
    done = [job for job in jobs if job.done(runs)]
    with open(results / "curves.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["env", "variant", "seed", "step", "eval_return", "wall_seconds"])
        for job in done:
            for step, value, seconds in curve(job.folder(runs)):
                writer.writerow(
                    [job.env, job.variant.name, job.seed, step, value, f"{seconds:.1f}"]
                )
    lines = [
        "| variant | seeds | final return of each | IQM | compression ratio | steps/s |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(job.variant.name for job in done):
        found = [
            json.loads((job.folder(runs) / "summary.json").read_text())
            for job in done
            if job.variant.name == name
        ]
        returns = [summary["final_return"] for summary in found]
        speed = np.median([summary["steps_per_second"] for summary in found])
        lines.append(
            f"| {name} | {', '.join(str(s['seed']) for s in found)} "
            f"| {', '.join(f'{value:.0f}' for value in returns)} "
            f"| {trim_mean(returns, 0.25):.0f} "
            f"| {found[0]['average_compression_ratio']:.3f} | {speed:.0f} |"
        )
    (results / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def draw(jobs: Sequence[Job], runs: Path, path: Path, title: str) -> None:
    """Mean evaluation return against steps, one line per variant, a band over its seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    done = [job for job in jobs if job.done(runs)]
    for name in dict.fromkeys(job.variant.name for job in done):
        curves = [curve(job.folder(runs)) for job in done if job.variant.name == name]
        steps = [step for step, _, _ in curves[0]]
        returns = np.array([[value for _, value, _ in c] for c in curves])
        (line,) = axes.plot(steps, returns.mean(0), label=name)
        axes.fill_between(
            steps, returns.min(0), returns.max(0), alpha=0.2, color=line.get_color(), lw=0
        )
    axes.set(xlabel="environment steps", ylabel="evaluation return", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
