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
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

from drawing.episodes import (
    EPISODES,
    GRID,
    TASKS,
    Setting,
    Task,
    episodes_to,
    outputs,
    quartiles,
)
from figures import make

import sparl
from sparl.agents import ActorCritic, PrimalDual

ROOT = Path(__file__).resolve().parent.parent
AGENTS = {"primal_dual": PrimalDual, "actor_critic": ActorCritic}


@dataclass(frozen=True)
class Study:
    task: Task
    settings: tuple[Setting, ...]
    seeds: range
    steps: int = 50_000


STUDIES = {
    "cartpole": Study(TASKS["cartpole"], tuple(product((3e-4, 1e-3), (1e-3, 3e-3))), range(20)),
    "acrobot": Study(TASKS["acrobot"], ((3e-4, 3e-3),), range(20)),
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


def run(job: Job, study: Study, runs: Path) -> None:
    """Trains to the bar or to the last step; the returns go to the job's file."""
    policy_rate, value_rate = job.setting
    rates = {"learning_rate": policy_rate, "value_learning_rate": value_rate}
    seen = Episodes(job.bars[0])
    with tempfile.TemporaryDirectory() as folder, suppress(Reached):
        sparl.train(
            study.task.env,
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
    print(f"{study.task.env}: {len(jobs) - len(missing)} of {len(jobs)} runs are done", flush=True)
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


def compare(name: str, study: Study, runs: Path, results: Path, cores: int) -> None:
    """The grid, the best setting of each agent until the last bar; tables and plot."""
    grid = [Job(*of, study.task.bars) for of in product(AGENTS, study.settings, study.seeds)]
    tried = run_all(grid, study, runs, cores)
    reached = {
        (agent, setting): [
            episodes_to(study.task.bars[0], returns)
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
    final = [
        Job(a, best[a], seed, study.task.bars[-1:]) for a, seed in product(AGENTS, study.seeds)
    ]
    found = run_all(final, study, runs, cores)
    results.mkdir(parents=True, exist_ok=True)
    _write(results / EPISODES, found, study.task.bars[-1])
    if len(study.settings) > 1:
        _write(results / GRID, tried, study.task.bars[0])
    make(outputs(results))
    print((results / "table.md").read_text())


def _write(path: Path, found: dict[Job, list[float]], bar: float) -> None:
    """A row per run: the returns of its episodes, up to the one that reached the bar."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["agent", "learning_rate", "value_learning_rate", "seed", "returns"])
        for job, returns in found.items():
            last = min(episodes_to(bar, returns), len(returns))
            told = " ".join(f"{value:g}" for value in returns[: int(last)])
            writer.writerow([job.agent, *job.setting, job.seed, told])


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
