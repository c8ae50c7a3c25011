"""What is worth keeping of runs: raw curves, and the tables and plots made from them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jobs import Job
from scipy.stats import trim_mean

import sparl
from sparl import api
from sparl.evaluation import Evaluator
from sparl.runfolder import RunFolder

SPEEDS = "speeds.json"
SIZE = ("neurons", "weights_kept", "bytes")
EPISODES = 100
"""Of a final policy, where a study asks for more than the evaluations of training."""


def curve(folder: Path) -> list[tuple[int, float]]:
    """(step, evaluation return) of every evaluation of a run."""
    with open(folder / "metrics.csv") as file:
        return [
            (int(row["step"]), float(row["eval_return"]))
            for row in csv.DictReader(file)
            if row["eval_return"]
        ]


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
        "| variant | hidden neurons | weights of the policy | bytes | average compression "
        "| final return of each seed | IQM | of dense | steps/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    measured, dense = speeds(results), None
    names = list(dict.fromkeys(job.variant.name for job in done))
    for name in sorted(names, key=lambda name: name != "dense"):
        of_it = [job for job in done if job.variant.name == name]
        found = [json.loads((job.folder(runs) / "summary.json").read_text()) for job in of_it]
        returns = [summary["final_return"] for summary in found]
        size = {key: _median([_policy(job.folder(runs))[key] for job in of_it]) for key in SIZE}
        ratio = np.mean([summary["average_compression_ratio"] for summary in found])
        middle = trim_mean(returns, 0.25)
        dense = middle if name == "dense" else dense
        lines.append(
            f"| {name} | {' | '.join(f'{value:,}' for value in size.values())} | {ratio:.3f} "
            f"| {', '.join(f'{value:.0f}' for value in returns)} | {middle:.0f} "
            f"| {f'{middle / dense:.2f}' if dense else ''} "
            f"| {f'{measured[name]:.0f}' if name in measured else ''} |"
        )
    (results / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _policy(folder: Path) -> dict[str, int]:
    (policy,) = api.inspect(folder / "policy")["networks"].values()
    return policy


def _median(values: Sequence[int]) -> int:
    """Of sizes, which may differ from seed to seed: the upper one of two in the middle."""
    return sorted(values)[len(values) // 2]


def play(results: Path, done: dict[Job, Path]) -> None:
    """Mean returns of the final policies over 100 episodes that no evaluation was made with, to
    `final_100_episodes.csv`."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / "final_100_episodes.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["env", "variant", "seed", "mean_return", "std_return"])
        for job, folder in done.items():
            policy = sparl.load(folder)
            run = RunFolder.open(folder).read_config()[0]
            evaluator = Evaluator(run, policy.spaces, EPISODES, seed=1_000 + job.seed)
            found = evaluator(policy.act)
            evaluator.close()
            row = (f"{found.mean_return:.1f}", f"{found.std_return:.1f}")
            writer.writerow([job.env, job.variant.name, job.seed, *row])
            print(f"{job.variant.name}, seed {job.seed}: {row[0]} over {EPISODES} episodes")


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
