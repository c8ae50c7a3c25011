"""Many runs side by side, one core each, resumable; and tables and plots of what they gave.

Two single-core runs on two cores make more steps in an hour than two runs one after the other
that share both. Run folders stay where `--runs` says; what is worth keeping goes to `results/`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import trim_mean

from sparl import api

ROOT = Path(__file__).resolve().parent.parent
SPEEDS = "speeds.json"
FINAL = 10
"""Evaluations that a final return is the mean of, as in summary.json."""


@dataclass(frozen=True)
class Variant:
    """A name, and the options of `sparl train` that make it."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """Variants side by side on one environment."""

    env: str
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    steps: int = 300_000
    common: tuple[str, ...] = ()
    """Options of `sparl train` that all variants have."""


def sparse(method: str, percent: int) -> Variant:
    """A method of unstructured sparsity, with that share of the weights left out."""
    return Variant(f"{method}-{percent}", ("--method", method, "--sparsity", str(percent / 100)))


def width_for(stored: int, ends: int, networks: int) -> int:
    """The width of the control that a sparse agent has to beat: a dense one of as many weights.

    The smallest width of two hidden layers at which `networks` networks, which have `ends` inputs
    and outputs between them, hold at least `stored` weights.
    """
    return next(w for w in range(1, 10_000) if networks * w**2 + ends * w >= stored)


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


def curve(folder: Path) -> list[tuple[int, float]]:
    """(step, evaluation return) of every evaluation of a run."""
    with open(folder / "metrics.csv") as file:
        return [
            (int(row["step"]), float(row["eval_return"]))
            for row in csv.DictReader(file)
            if row["eval_return"]
        ]


WARM, TIMED = 2_000, 2_500
"""Steps before the clock starts, which have the first restructuring in them, and timed steps."""


def measure(variants: Sequence[Variant], study: Study, path: Path, repetitions: int = 3) -> None:
    """Steps per second of each variant's training, alone on all cores, to a JSON file.

    The variants take turns. Evaluation is not timed. For a machine that does nothing else: what the
    runs of `run_all` tell of their own speed is that of one core with neighbours.
    """
    found: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for repetition, variant in product(range(repetitions), variants):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            options = {
                **{"--steps": WARM + TIMED, "--eval-every": WARM + TIMED, "--log-every": WARM // 4},
                **{"--learning-starts": 500, "--eval-episodes": 1, "--out": out},
            }
            subprocess.run(
                [sys.executable, "-m", "sparl", "train", study.env, "--quiet", *variant.options]
                + [*study.common]
                + [str(part) for option in options.items() for part in option],
                check=True,
            )
            with open(out / "metrics.csv") as file:
                clock = {int(r["step"]): float(r["wall_seconds"]) for r in csv.DictReader(file)}
        found[variant.name].append(TIMED / (clock[WARM + TIMED] - clock[WARM]))
        print(f"{repetition + 1}: {variant.name} {found[variant.name][-1]:.0f} steps/s", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def speeds(results: Path) -> dict[str, float]:
    """Steps per second of each variant, the median of what `measure` found; empty if it did not."""
    path = results / SPEEDS
    found = json.loads(path.read_text()) if path.exists() else {}
    return {name: float(np.median(values)) for name, values in found.items()}


def record(jobs: Sequence[Job], runs: Path, results: Path) -> None:
    """Writes the raw curves (`curves.csv`) and a table of final returns (`table.md`)."""
    results.mkdir(parents=True, exist_ok=True)
    done = [job for job in jobs if job.done(runs)]
    with open(results / "curves.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["env", "variant", "seed", "step", "eval_return"])
        for job in done:
            for step, value in curve(job.folder(runs)):
                writer.writerow([job.env, job.variant.name, job.seed, step, value])
    lines = [
        "| variant | weights of the policy | bytes | final return of each seed | IQM | of dense "
        "| steps/s |",
        "|---|---|---|---|---|---|---|",
    ]
    measured, dense = speeds(results), None
    names = list(dict.fromkeys(job.variant.name for job in done))
    for name in sorted(names, key=lambda name: name != "dense"):
        of_it = [job for job in done if job.variant.name == name]
        found = [json.loads((job.folder(runs) / "summary.json").read_text()) for job in of_it]
        returns = [summary["final_return"] for summary in found]
        (policy,) = api.inspect(of_it[0].folder(runs) / "policy")["networks"].values()
        middle = trim_mean(returns, 0.25)
        dense = middle if name == "dense" else dense
        lines.append(
            f"| {name} | {policy['weights_kept']:,} | {policy['bytes']:,} "
            f"| {', '.join(f'{value:.0f}' for value in returns)} | {middle:.0f} "
            f"| {f'{middle / dense:.2f}' if dense else ''} "
            f"| {f'{measured[name]:.0f}' if name in measured else ''} |"
        )
    (results / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def draw(jobs: Sequence[Job], runs: Path, results: Path, title: str) -> None:
    """`curves.png`: mean evaluation return, one line per variant, a band over its seeds.

    Against steps, and where speeds were measured against the seconds that so many steps take at
    them, up to the end of the fastest variant twice over.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    measured = speeds(results)
    figure, panels = plt.subplots(
        1,
        2 if measured else 1,
        figsize=(12 if measured else 7, 4.5),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    done = [job for job in jobs if job.done(runs)]
    names = list(dict.fromkeys(job.variant.name for job in done))
    for name in names:
        curves = [curve(job.folder(runs)) for job in done if job.variant.name == name]
        steps = np.array([step for step, _ in curves[0]])
        returns = np.array([[value for _, value in c] for c in curves])
        style = "--" if name.startswith("tiny") else "-"
        for axes, x in zip(panels[0], (steps, steps / measured.get(name, np.nan)), strict=False):
            (line,) = axes.plot(x, returns.mean(0), style, label=name, lw=1.4)
            axes.fill_between(
                x, returns.min(0), returns.max(0), alpha=0.12, color=line.get_color(), lw=0
            )
    panels[0, 0].set(xlabel="environment steps", ylabel="evaluation return", title=title)
    panels[0, 0].legend(fontsize="small")
    if measured:
        end = 2 * max(job.steps for job in done) / max(measured[n] for n in names if n in measured)
        panels[0, 1].set(
            xlabel="seconds: steps / (steps per second measured on the idle machine, both cores)",
            xlim=(0, end),
        )
    for axes in panels[0]:
        axes.grid(alpha=0.3)
    figure.savefig(results / "curves.png", dpi=110)


def main(
    description: str | None, name: str, known: dict[str, Study]
) -> list[tuple[Path, dict[Job, Path]]]:
    """The command line of a recipe with several studies; results go to `results/NAME/STUDY`.

    Answers with each study's results, and the folders of its runs that are done.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(dict.fromkeys(v.name for study in known.values() for v in study.variants))
    parser.add_argument("--studies", nargs="+", choices=known, default=list(known))
    parser.add_argument("--only", nargs="+", choices=names, help="variants; all if not given")
    parser.add_argument("--seeds", type=int, nargs="+", help="those of each study if not given")
    parser.add_argument("--steps", type=int, help="those of each study if not given")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / name)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / name)
    parser.add_argument("--cores", type=int, nargs="+", help="all if not given")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--record", action="store_true", help="run nothing, write what is done")
    instead.add_argument(
        "--speeds", action="store_true", help="only time each variant, on an idle machine"
    )
    asked = parser.parse_args()
    jobs = {
        name: [
            Job(variant, seed, study.env, asked.steps or study.steps, study.common)
            for seed, variant in product(asked.seeds or study.seeds, study.variants)
            if asked.only is None or variant.name in asked.only
        ]
        for name, study in known.items()
        if name in asked.studies
    }
    if asked.speeds:
        for study, found in jobs.items():
            variants = list(dict.fromkeys(job.variant for job in found))
            measure(variants, known[study], asked.results / study / SPEEDS)
    elif not asked.record:
        # A variant that two studies share is one run.
        in_order = list(dict.fromkeys(job for study in jobs.values() for job in study))
        run_all(in_order, asked.runs, asked.cores or sorted(os.sched_getaffinity(0)))
    recorded = []
    for study, found in jobs.items():
        done = {job: job.folder(asked.runs) for job in found if job.done(asked.runs)}
        if done:
            folder = asked.results / study
            record(found, asked.runs, folder)
            draw(found, asked.runs, folder, f"{known[study].env}: {study}")
            recorded.append((folder, done))
    return recorded
