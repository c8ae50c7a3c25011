"""Primal-dual pi learning beside the one-step TD actor-critic: episodes until a task is solved.

    python recipes/primal_dual.py                          # both studies, in order
    python recipes/primal_dual.py --studies cartpole

Both agents have the same networks, discount, batch and steps, and differ in the critic's loss and
in the critic that judges the actor. What counts is the number of episodes until the mean of ten
training episodes reaches a bar. Each agent is tried at every setting of one grid of step sizes, the
same for both and with the same seeds, until the first bar; and at its own best setting until the
last one:

    cartpole  CartPole-v1, 195 (the bar of CartPole-v0) and 475, 50,000 steps at most; four
              settings, 20 seeds
    acrobot   Acrobot-v1, -100, 50,000 steps at most; the default setting, 20 seeds

One run on each core at a time. Stop it, and the same command goes on with what is missing. Returns
of every episode, tables and a plot go to `results/primal_dual/STUDY`.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np

import sparl
from sparl.agents import OneStepConfig, PrimalDualConfig

ROOT = Path(__file__).resolve().parent.parent
AGENTS = {"primal_dual": PrimalDualConfig, "actor_critic": OneStepConfig}
Setting = tuple[float, float]
"""Step sizes of policy and value."""
NEWEST = 10
"""Episodes that the mean is taken of."""


@dataclass(frozen=True)
class Study:
    env: str
    bars: tuple[float, ...]
    """Ascending; settings are chosen by the first."""
    settings: tuple[Setting, ...]
    seeds: range
    steps: int = 50_000


STUDIES = {
    "cartpole": Study(
        "CartPole-v1", (195.0, 475.0), tuple(product((3e-4, 1e-3), (1e-3, 3e-3))), range(20)
    ),
    "acrobot": Study("Acrobot-v1", (-100.0,), ((3e-4, 3e-3),), range(20)),
}


@dataclass(frozen=True)
class Job:
    agent: str
    setting: Setting
    seed: int
    bars: tuple[float, ...]
    """The run may end at the first; one that ended at another will do as well."""

    def file(self, runs: Path) -> Path:
        rates = "{:g}-{:g}".format(*self.setting)
        files = [runs / f"{self.agent}-{rates}-{self.seed}-until-{bar:g}.csv" for bar in self.bars]
        return next((file for file in reversed(files) if file.exists()), files[0])


class Reached(Exception):
    """The bar is."""


class Episodes(sparl.Callback):
    """Collects returns; ends the run at the bar."""

    def __init__(self, bar: float) -> None:
        self.bar = bar
        self.returns: list[float] = []

    def on_episode(self, step: int, episode_return: float, length: int) -> None:
        self.returns.append(episode_return)
        if math.isfinite(episodes_to(self.bar, self.returns)):
            raise Reached


def episodes_to(bar: float, returns: Sequence[float]) -> float:
    """Episodes until the mean of the newest ten is at least `bar`; inf if it never is."""
    if len(returns) < NEWEST:
        return math.inf
    means = np.convolve(returns, np.full(NEWEST, 1 / NEWEST), "valid")
    found = np.flatnonzero(means >= bar - 1e-9)
    return float(found[0] + NEWEST) if len(found) else math.inf


def run(job: Job, study: Study, runs: Path) -> None:
    """Trains to the bar or to the last step; the returns go to the job's file."""
    policy_rate, value_rate = job.setting
    rates = {"learning_rate": policy_rate, "value_learning_rate": value_rate}
    seen = Episodes(job.bars[0])
    with tempfile.TemporaryDirectory() as folder, suppress(Reached):
        sparl.train(
            study.env,
            AGENTS[job.agent](**rates),
            **{"steps": study.steps, "seed": job.seed, "eval_every": study.steps},
            checkpoint_every=study.steps,
            out=Path(folder) / "run",
            callbacks=[seen],
            quiet=True,
        )
    part = job.file(runs).with_suffix(".part")
    part.write_text("\n".join(map(str, seen.returns)))
    part.rename(job.file(runs))


def run_all(jobs: Iterable[Job], study: Study, runs: Path, cores: int) -> dict[Job, list[float]]:
    """The returns of every episode of each job, run now if not before."""
    runs.mkdir(parents=True, exist_ok=True)
    jobs = list(jobs)
    missing = [job for job in jobs if not job.file(runs).exists()]
    print(f"{study.env}: {len(jobs) - len(missing)} of {len(jobs)} runs are done", flush=True)
    context = get_context("spawn")
    free = context.Queue()
    for core in sorted(os.sched_getaffinity(0))[:cores]:
        free.put(core)
    with ProcessPoolExecutor(cores, context, _take_one, (free,)) as pool:
        running = {pool.submit(run, job, study, runs): job for job in missing}
        for ended in as_completed(running):
            ended.result()
            print(f"  {running[ended]}", flush=True)
    return {job: [float(line) for line in job.file(runs).open()] for job in jobs}


def _take_one(free: Queue) -> None:
    """Each of the pool's processes on a core of its own."""
    os.sched_setaffinity(0, {free.get()})


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median and quartiles, of values among which inf stands for never (so no interpolation)."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), method="higher")
    return float(middle), float(low), float(high)


def told(values: Sequence[float]) -> str:
    middle, low, high = (f"{v:.0f}" if math.isfinite(v) else "never" for v in quartiles(values))
    return f"{middle} ({low} to {high})"


def compare(name: str, study: Study, runs: Path, results: Path, cores: int) -> None:
    """The grid, the best setting of each agent until the last bar; tables and plot."""
    grid = [Job(*of, study.bars) for of in product(AGENTS, study.settings, study.seeds)]
    tried = run_all(grid, study, runs, cores)
    reached = {
        (agent, setting): [
            episodes_to(study.bars[0], returns)
            for job, returns in tried.items()
            if (job.agent, job.setting) == (agent, setting)
        ]
        for agent, setting in product(AGENTS, study.settings)
    }
    # Of equal medians, the smaller upper quartile.
    best = {
        agent: min(study.settings, key=lambda s, agent=agent: quartiles(reached[agent, s])[::2])
        for agent in AGENTS
    }
    final = [Job(a, best[a], seed, study.bars[-1:]) for a, seed in product(AGENTS, study.seeds)]
    found = run_all(final, study, runs, cores)
    results.mkdir(parents=True, exist_ok=True)
    _write(results / "episodes.csv", found, study.bars[-1])
    bars = " | ".join(f"episodes to {bar:g}, median (quartiles) | reached" for bar in study.bars)
    lines = [f"| agent | step sizes, policy and value | seeds | {bars} |"]
    lines.append("|---|---|---|" + "---|---|" * len(study.bars))
    for agent in AGENTS:
        of_it = [returns for job, returns in found.items() if job.agent == agent]
        cells = [agent, "{:g}, {:g}".format(*best[agent]), str(len(of_it))]
        for bar in study.bars:
            episodes = [episodes_to(bar, returns) for returns in of_it]
            cells += [told(episodes), str(sum(map(math.isfinite, episodes)))]
        lines.append(f"| {' | '.join(cells)} |")
    if len(study.settings) > 1:
        _write(results / "grid.csv", tried, study.bars[0])
        lines += _grid_table(study, reached)
    (results / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    _draw(study, found, results / "curves.png")


def _grid_table(study: Study, reached: dict[tuple[str, Setting], list[float]]) -> list[str]:
    lines = ["", f"The grid: episodes to {study.bars[0]:g}, median (quartiles), reached.", ""]
    lines.append("| agent | " + " | ".join("{:g}, {:g}".format(*s) for s in study.settings) + " |")
    lines.append("|---" * (1 + len(study.settings)) + "|")
    for agent in AGENTS:
        of_it = [reached[agent, setting] for setting in study.settings]
        cells = [f"{told(values)}, {sum(map(math.isfinite, values))}" for values in of_it]
        lines.append(f"| {agent} | {' | '.join(cells)} |")
    return lines


def _write(path: Path, found: dict[Job, list[float]], bar: float) -> None:
    """A row per run: the returns of its episodes, up to the one that reached the bar."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["agent", "learning_rate", "value_learning_rate", "seed", "returns"])
        for job, returns in found.items():
            last = min(episodes_to(bar, returns), len(returns))
            told = " ".join(f"{value:g}" for value in returns[: int(last)])
            writer.writerow([job.agent, *job.setting, job.seed, told])


def _draw(study: Study, found: dict[Job, list[float]], path: Path) -> None:
    """Mean return of the newest ten episodes against episodes, the median of seeds with quartiles;
    a run that has reached the last bar stays at what it reached."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    longest = max(map(len, found.values()))
    for agent in AGENTS:
        curves = np.empty((0, longest - NEWEST + 1))
        for job, returns in found.items():
            if job.agent == agent:
                means = np.convolve(returns, np.full(NEWEST, 1 / NEWEST), "valid")
                padded = np.pad(means, (0, longest - NEWEST + 1 - len(means)), mode="edge")
                curves = np.vstack([curves, padded])
        low, middle, high = np.quantile(curves, (0.25, 0.5, 0.75), axis=0)
        episodes = np.arange(NEWEST, longest + 1)
        (line,) = axes.plot(episodes, middle, label=agent)
        axes.fill_between(episodes, low, high, color=line.get_color(), alpha=0.15, lw=0)
    for bar in study.bars:
        axes.axhline(bar, color="grey", ls=":", lw=1)
    axes.set(xlabel="episodes", ylabel=f"return, mean of {NEWEST} episodes", title=study.env)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "primal_dual")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "primal_dual")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    for name in asked.studies:
        folders = (asked.runs / name, asked.results / name)
        compare(name, STUDIES[name], *folders, asked.cores)


if __name__ == "__main__":
    main()
