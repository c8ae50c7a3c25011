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
from sparl.storage import RunFolder
from sparl.training import FINAL, Evaluator, inspect

SPEEDS = "speeds.json"
CURVES, RUNS = "curves.csv", "runs.csv"
SIZE, RATIO = ("neurons", "weights_kept", "bytes"), "average_compression_ratio"
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


Rows = list[dict[str, str]]


def recorded(path: Path) -> dict[tuple[str, int], Rows]:
    """The rows of a CSV file by variant and seed."""
    found: dict[tuple[str, int], Rows] = {}
    if path.exists():
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault((row["variant"], int(row["seed"])), []).append(row)
    return found


def kept(path: Path, new: dict[Job, Rows]) -> dict[tuple[str, int], Rows]:
    """The rows of a CSV file, those of `new` added or in place of older ones, and written again.

    So what another machine has recorded stays, though its run folders are not here.
    """
    found = recorded(path)
    for job, rows in new.items():
        name, seed = job.variant.name, job.seed
        found[name, seed] = [{"env": job.env, "variant": name, "seed": str(seed)} | r for r in rows]
    names = variants(found)
    found = dict(sorted(found.items(), key=lambda item: (names.index(item[0][0]), item[0][1])))
    every = [row for rows in found.values() for row in rows]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(every[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(every)
    return found


def variants(found: dict[tuple[str, int], Rows]) -> list[str]:
    """The names there are, in their order."""
    return list(dict.fromkeys(name for name, _ in found))


def speeds(results: Path) -> dict[str, float]:
    """Steps per second of each variant, the median of what `measure` found; empty if it did not."""
    path = results / SPEEDS
    found = json.loads(path.read_text()) if path.exists() else {}
    return {name: float(np.median(values)) for name, values in found.items()}


def record(jobs: Sequence[Job], runs: Path, results: Path) -> None:
    """Adds runs that are done to the raw curves (`curves.csv`) and to what is known of each run
    beside its curve (`runs.csv`), and writes a table of all that is there (`table.md`)."""
    results.mkdir(parents=True, exist_ok=True)
    done = {job: job.folder(runs) for job in jobs if job.done(runs)}
    curves = kept(
        results / CURVES,
        {
            job: [{"step": str(s), "eval_return": str(value)} for s, value in curve(folder)]
            for job, folder in done.items()
        },
    )
    known = kept(results / RUNS, {job: [_figures(folder)] for job, folder in done.items()})
    lines = [
        "| variant | hidden neurons | weights of the policy | bytes | average compression "
        "| final return of each seed | IQM | of dense | steps/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    measured, dense = speeds(results), None
    for name in sorted(variants(curves), key=lambda name: name != "dense"):
        of_it = [key for key in curves if key[0] == name]
        returns = [final_return(curves[key]) for key in of_it]
        sizes = [known[key][0] for key in of_it if key in known]
        medians = [_median([int(size[key]) for size in sizes]) for key in SIZE if sizes]
        cells = [f"{value:,}" for value in medians] or [""] * len(SIZE)
        ratios = [float(size[RATIO]) for size in sizes]
        middle = trim_mean(returns, 0.25)
        dense = middle if name == "dense" else dense
        lines.append(
            f"| {name} | {' | '.join(cells)} | {f'{np.mean(ratios):.3f}' if ratios else ''} "
            f"| {', '.join(f'{value:.0f}' for value in returns)} | {middle:.0f} "
            f"| {f'{middle / dense:.2f}' if dense else ''} "
            f"| {f'{measured[name]:.0f}' if name in measured else ''} |"
        )
    (results / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def final_return(rows: Rows) -> float:
    """The mean of a curve's last evaluations, as in a run's summary."""
    return float(np.mean([float(row["eval_return"]) for row in rows][-FINAL:]))


def _figures(folder: Path) -> dict[str, str]:
    """Of a run that is done: its policy's sizes, and the compression of all networks, averaged over
    all updates."""
    (policy,) = inspect(folder / "policy")["networks"].values()
    summary = json.loads((folder / "summary.json").read_text())
    sizes = {key: str(policy[key]) for key in SIZE}
    return {"steps": str(summary["steps"]), **sizes, RATIO: f"{summary[RATIO]:.4f}"}


def _median(values: Sequence[int]) -> int:
    """Of sizes, which may differ from seed to seed: the upper one of two in the middle."""
    return sorted(values)[len(values) // 2]


def play(results: Path, done: dict[Job, Path]) -> None:
    """Mean returns of the final policies over 100 episodes that no evaluation was made with, into
    `final_100_episodes.csv`."""
    results.mkdir(parents=True, exist_ok=True)
    played: dict[Job, Rows] = {}
    for job, folder in done.items():
        policy = sparl.load(folder)
        run = RunFolder.open(folder).read_config()[0]
        evaluator = Evaluator(run, policy.spaces, EPISODES, seed=1_000 + job.seed)
        found = evaluator(policy.act)
        evaluator.close()
        mean, std = f"{found.mean_return:.1f}", f"{found.std_return:.1f}"
        played[job] = [{"mean_return": mean, "std_return": std}]
        print(f"{job.variant.name}, seed {job.seed}: {mean} over {EPISODES} episodes")
    kept(results / "final_100_episodes.csv", played)


def draw(results: Path, title: str) -> None:
    """`curves.png`: mean evaluation return, one line per variant, a band over its seeds, as far as
    all of them go.

    Against steps, and where speeds were measured against the seconds that so many steps take at
    them, up to the end of the fastest variant twice over.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    measured, found = speeds(results), recorded(results / CURVES)
    figure, panels = plt.subplots(
        1,
        2 if measured else 1,
        figsize=(12 if measured else 7, 4.5),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    names, last = variants(found), 0
    for name in names:
        curves = [rows for key, rows in found.items() if key[0] == name]
        curves = [rows[: min(map(len, curves))] for rows in curves]
        steps = np.array([int(row["step"]) for row in curves[0]])
        returns = np.array([[float(row["eval_return"]) for row in rows] for rows in curves])
        last = max(last, int(steps[-1]))
        style = "--" if name.startswith("tiny") else "-"
        for axes, x in zip(panels[0], (steps, steps / measured.get(name, np.nan)), strict=False):
            (line,) = axes.plot(x, returns.mean(0), style, label=name, lw=1.4)
            axes.fill_between(
                x, returns.min(0), returns.max(0), alpha=0.12, color=line.get_color(), lw=0
            )
    panels[0, 0].set(xlabel="environment steps", ylabel="evaluation return", title=title)
    panels[0, 0].legend(fontsize="small")
    if measured:
        end = 2 * last / max(measured[n] for n in names if n in measured)
        panels[0, 1].set(
            xlabel="seconds: steps / (steps per second measured on the idle machine, both cores)",
            xlim=(0, end),
        )
    for axes in panels[0]:
        axes.grid(alpha=0.3)
    figure.savefig(results / "curves.png", dpi=110)
