"""`sparl bench step`: where each microsecond of a training step goes.

The parts are timed one after the other, each waited for. The loop of `training.py` lets updates
run while the environment is stepped, so the whole step takes less than the sum of its parts.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparl import envs
from sparl.bench import contender, report
from sparl.engine import Engine
from sparl.methods import TrainingProgress
from sparl.replay import Columns, Replay

WARM = 100
"""Updates before the clock starts."""

RUN = 100_000
"""Updates of a run, of which the method says how often it restructures."""

RESTRUCTURES = 10

DISPATCH = "update: call returns"
CRITICS = "update: critics"
ACTOR = "update: critics and actor"
RESTRUCTURE = "restructure"


@dataclass(frozen=True)
class Step:
    """Time the parts of a training step of TD3, and the whole of it."""

    env: str = "HalfCheetah-v5"
    """Gymnasium id, or `module:EnvId`."""
    pattern: str = "dense"
    """dense, or the N:M of method rnm."""
    width: int = 256
    """Of both hidden layers."""
    steps: int = 2_000
    """Timed steps, once part by part and once as a whole."""
    json: Path | None = None
    """File for the figures."""

    def check(self) -> None:
        """Raises what a user can put right, before anything is measured."""
        report.check(self.json, width=self.width, steps=self.steps)
        contender.method_of(self.pattern)


def run(asked: Step) -> None:
    """Measures, prints a table, writes the JSON file."""
    asked.check()
    on = report.machine()
    rows = parts(asked)
    total = sum(row["us_per_step"] for row in rows)
    rows = [row | {"share": row["us_per_step"] / total} for row in rows]
    whole = 1e6 / contender.sparl(asked.pattern, asked.env, asked.width, asked.steps)
    table = [
        (row["part"], f"{row['us']:.1f}", f"{row['per_step']:.4g}", row["us_per_step"])
        for row in rows
    ]
    table += [
        ("sum of parts", "", "", total),
        ("overlapped", "", "", total - whole),
        ("whole step", "", "", whole),
    ]
    report.table(
        ["", "us", "per step", "us/step", "share"],
        [(*cells, f"{us:.1f}", f"{us / total:.0%}") for *cells, us in table],
    )
    print(
        f"{asked.env}, {asked.pattern}, 2x{asked.width}: {1e6 / whole:.0f} steps/s. Overlapped is "
        "sum less whole, less the loop's own work\n(logging, noise, episodes). The call's return "
        "is part of the updates and not added."
    )
    setting = {"env": asked.env, "pattern": asked.pattern, "width": asked.width}
    report.write(
        asked.json,
        setting
        | {"steps": asked.steps, "machine": on, "parts": rows, "sum_us": total}
        | {"overlapped_us": total - whole, "whole_us": whole, "steps_per_second": 1e6 / whole},
    )


def parts(asked: Step) -> list[dict[str, Any]]:
    """Median microseconds of each part, and how often a step has it."""
    env = envs.make(asked.env)
    spaces = envs.spaces_of(env)
    columns = Columns(spaces.observation_size, spaces.action_size)
    config, method = contender.agent_of(asked.width), contender.method_of(asked.pattern)
    engine = Engine(config, method, columns, seed=0)
    replay = Replay(contender.RANDOM + WARM + asked.steps, columns)
    rng = np.random.default_rng(0)
    observation = spaces.flat(env.reset(seed=0)[0])
    watch = Watch()
    for step in range(replay.capacity):
        if step == contender.RANDOM + WARM:
            watch = Watch()  # all is compiled: only now does it count
        learning = step >= contender.RANDOM
        watch.start()
        if learning:
            action = engine.act(observation[None])[0]
            watch.lap("act")
        else:
            action = rng.uniform(-1.0, 1.0, spaces.action_size).astype(np.float32)
        watch.start()
        stepped, reward, terminated, truncated, _ = env.step(spaces.scaled(action))
        next_observation = spaces.flat(stepped)
        watch.lap("environment step")
        ended = terminated or truncated
        fields = (observation, action, float(reward), next_observation, bool(terminated), ended)
        replay.add(*fields)
        watch.lap("replay add")
        if learning:
            rows = replay.sample(config.batch_size, rng, config.gamma)
            watch.lap("replay sample")
            time_update(engine, rows, watch)
        observation = spaces.flat(env.reset()[0]) if ended else next_observation
    env.close()
    moves = [name for name in (CRITICS, ACTOR) for _ in watch.seconds[name]]
    often = {name: moves.count(name) / len(moves) for name in (CRITICS, ACTOR)}
    stages = [stage for u in range(1, RUN + 1) if (stage := method.stage(u, RUN)) is not None]
    if stages:
        time_restructures(engine, stages[0], watch)
        often[RESTRUCTURE] = len(stages) / RUN
    found = []
    for name, seconds in watch.seconds.items():
        us, per_step = 1e6 * statistics.median(seconds), often.get(name, 1.0)
        if name == DISPATCH:
            per_step = 0.0
        found.append({"part": name, "us": us, "per_step": per_step, "us_per_step": us * per_step})
    return found


class Watch:
    """A stopwatch: `lap` books the time since the last call under a name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        self.seconds[name].append(time.perf_counter() - self.last)
        self.start()


def time_update(engine: Engine, rows: np.ndarray, watch: Watch) -> None:
    """Until the call returns, and until its results are there."""
    moves_actor = "actor" in engine.algorithm.due(engine.updates)
    started = time.perf_counter()
    watch.last = started
    engine.update(rows)
    watch.lap(DISPATCH)
    watch.last = started
    jax.block_until_ready(engine.arrays)
    watch.lap(ACTOR if moves_actor else CRITICS)


def time_restructures(engine: Engine, stage: Hashable, watch: Watch) -> None:
    for i in range(1 + RESTRUCTURES):
        watch.start()
        engine.restructure(stage, TrainingProgress(engine.updates, RUN))
        jax.block_until_ready(engine.arrays)
        if i:  # the first one compiled
            watch.lap(RESTRUCTURE)
