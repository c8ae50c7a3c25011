"""Primal-dual pi learning beside the one-step TD actor-critic: episodes until a task is solved.

    python recipes/primal_dual.py                          # both studies, in order
    python recipes/primal_dual.py --studies cartpole

All agents have the same networks, discount, batch and steps, and step sizes that fall to 0 over the
run. They differ in the critic's loss and in the critic that judges the actor:

    primal_dual        with its own share of the gradient through the next value
    primal_dual-whole  with all of that gradient, as the paper has it
    actor_critic       one-step TD

What counts is the number of episodes until the mean of ten training episodes reaches a bar:

    cartpole  CartPole-v1, 195 (the bar of CartPole-v0) and 475
    acrobot   Acrobot-v1, -100

Each agent is tried at every setting of one grid, two step sizes of the policy, two of the value and
two bonuses for entropy, on five seeds that are for this alone. The setting that is soonest at the
last bar then has 20 seeds of its own. A run ends at the last bar or after 50,000 steps.

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
from dataclasses import dataclass, replace
from itertools import product, starmap
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
from sparl.agents import ActorCritic, OneStepAgent, PrimalDual

ROOT = Path(__file__).resolve().parent.parent
AGENTS: dict[str, OneStepAgent] = {
    "primal_dual": PrimalDual(),
    "primal_dual-whole": PrimalDual(residual_weight=1.0),
    "actor_critic": ActorCritic(),
}
SETTINGS = tuple(starmap(Setting, product((3e-4, 1e-3), (1e-3, 3e-3), (0.0, 0.01))))
CHOSEN_BY, SEEDS = range(100, 105), range(20)
"""Seeds that settings are chosen by, and those of what is told."""
STEPS = 50_000


@dataclass(frozen=True)
class Job:
    agent: str
    setting: Setting
    seed: int

    def file(self, runs: Path) -> Path:
        told = "-".join(f"{value:g}" for value in self.setting)
        return runs / f"{self.agent}-{told}-{self.seed}.csv"


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


def run(job: Job, task: Task, runs: Path) -> None:
    """Trains to the bar or to the last step; the returns go to the job's file."""
    agent = replace(AGENTS[job.agent], learning_rate_schedule="linear", **job.setting._asdict())
    seen = Episodes(task.bars[-1])
    with tempfile.TemporaryDirectory() as folder, suppress(Reached):
        sparl.train(
            task.env,
            agent,
            **{"steps": STEPS, "seed": job.seed, "eval_every": STEPS, "checkpoint_every": STEPS},
            out=Path(folder) / "run",
            callbacks=[seen],
            quiet=True,
        )
    part = job.file(runs).with_suffix(".part")
    part.write_text("\n".join(map(str, seen.returns)))
    part.rename(job.file(runs))


def run_all(jobs: Iterable[Job], task: Task, runs: Path, cores: int) -> dict[Job, list[float]]:
    """The returns of every episode of each job, run now if not before."""
    runs.mkdir(parents=True, exist_ok=True)
    jobs = list(jobs)
    missing = [job for job in jobs if not job.file(runs).exists()]
    print(f"{task.env}: {len(jobs) - len(missing)} of {len(jobs)} runs are done", flush=True)
    context = get_context("spawn")
    free = context.Queue()
    for core in sorted(os.sched_getaffinity(0))[:cores]:
        free.put(core)
    with ProcessPoolExecutor(cores, context, _take_one, (free,)) as pool:
        running = {pool.submit(run, job, task, runs): job for job in missing}
        for ended in as_completed(running):
            ended.result()
            print(f"  {running[ended]}", flush=True)
    return {job: [float(line) for line in job.file(runs).open()] for job in jobs}


def _take_one(free: Queue) -> None:
    """Each of the pool's processes on a core of its own."""
    os.sched_setaffinity(0, {free.get()})


def compare(task: Task, runs: Path, results: Path, cores: int) -> None:
    """The grid, then each agent at its best setting; tables and plot."""
    tried = run_all(starmap(Job, product(AGENTS, SETTINGS, CHOSEN_BY)), task, runs, cores)
    results.mkdir(parents=True, exist_ok=True)
    _write(results / GRID, tried)

    def soonest(agent: str) -> Setting:
        """By the last bar; of equal medians and upper quartiles, by the first."""

        def slowness(setting: Setting) -> list[float]:
            runs = [tried[Job(agent, setting, seed)] for seed in CHOSEN_BY]
            reached = ([episodes_to(bar, run) for run in runs] for bar in reversed(task.bars))
            return [value for each in reached for value in quartiles(each)[::2]]

        return min(SETTINGS, key=slowness)

    best = {agent: soonest(agent) for agent in AGENTS}
    told = starmap(Job, ((agent, best[agent], seed) for agent, seed in product(AGENTS, SEEDS)))
    _write(results / EPISODES, run_all(told, task, runs, cores))
    make(outputs(results))
    print((results / "table.md").read_text())


def _write(path: Path, found: dict[Job, list[float]]) -> None:
    """A row per run: the returns of its episodes."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["agent", *Setting._fields, "seed", "returns"])
        for job, returns in found.items():
            told = " ".join(f"{value:g}" for value in returns)
            writer.writerow([job.agent, *job.setting, job.seed, told])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "primal_dual")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "primal_dual")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    for name in asked.studies:
        compare(TASKS[name], asked.runs / name, asked.results / name, asked.cores)


if __name__ == "__main__":
    main()
