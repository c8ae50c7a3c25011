"""`sparl bench step`: where each microsecond of a training step goes; `--trace` see `trace`.

The parts are timed one after the other, and each is waited for. The trainer lets an update run
while the environment is stepped, so a whole step takes less than the sum of its parts.
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
from sparl.bench import contender, report, trace
from sparl.engine import Engine
from sparl.methods import TrainingProgress
from sparl.replay import Columns, Replay

WARM = 100
"""Updates before the clock starts."""

RUN = 100_000
"""Updates of the run in which the method's restructurings are counted."""

RESTRUCTURES = 10
"""Timed restructurings."""

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
    """dense, or a pattern N:M or N:MxV of the method rnm."""
    width: int = 256
    """Of both hidden layers."""
    steps: int = 2_000
    """Timed steps, once part by part and once as a whole."""
    trace: bool = False
    """Show instead what the kernels' threads do in an update: how often they meet, and how long
    they wait for each other, with one thread and with two."""
    json: Path | None = None
    """File for the figures."""

    def check(self) -> None:
        """Checks the options before anything is measured.

        Raises:
            BadValue: An option has a value that is not possible; the message says which are.
        """
        report.check(self.json, width=self.width, steps=self.steps)
        contender.method_of(self.pattern)


def run(options: Step) -> None:
    """Measures, prints a table and writes the JSON file."""
    options.check()
    machine = report.machine()
    if options.trace:
        trace.run(options.env, options.pattern, options.width, options.json, machine)
        return
    rows = parts(options)
    total = sum(row["us_per_step"] for row in rows)
    rows = [row | {"share": row["us_per_step"] / total} for row in rows]
    speed = contender.sparl(options.pattern, "td3", options.env, options.width, options.steps)
    step_us = 1e6 / speed.steps_per_second
    table = [
        (row["part"], f"{row['us']:.1f}", f"{row['per_step']:.4g}", row["us_per_step"])
        for row in rows
    ]
    table += [
        ("sum of parts", "", "", total),
        ("overlapped", "", "", total - step_us),
        ("whole step", "", "", step_us),
    ]
    report.table(
        ["", "us", "per step", "us/step", "share"],
        [(*cells, f"{us:.1f}", f"{us / total:.0%}") for *cells, us in table],
    )
    print(
        f"{options.env}, {options.pattern}, 2x{options.width}: {1e6 / step_us:.0f} steps/s."
        "\nOverlapped: the sum minus the whole step, which also has the loop's own work (logging, "
        "noise,\nepisodes). The time until a call returns is part of its update and is not added."
    )
    setting = {"env": options.env, "pattern": options.pattern, "width": options.width}
    report.write(
        options.json,
        setting
        | {"steps": options.steps, "machine": machine, "parts": rows, "sum_us": total}
        | {
            "overlapped_us": total - step_us,
            "whole_us": step_us,
            "steps_per_second": 1e6 / step_us,
        },
    )


def parts(options: Step) -> list[dict[str, Any]]:
    """Gives the median microseconds of each part, and how often a step has it."""
    env = envs.make(options.env)
    spaces = envs.spaces_of(env)
    columns = Columns(spaces.observation_size, spaces.action_size)
    config, method = contender.agent_of("td3", options.width), contender.method_of(options.pattern)
    engine = Engine(config, method, columns, seed=0)
    replay = Replay(contender.RANDOM + WARM + options.steps, columns)
    rng = np.random.default_rng(0)
    observation = spaces.flat(env.reset(seed=0)[0])
    watch = Watch()
    for step in range(replay.capacity):
        if step == contender.RANDOM + WARM:
            watch = Watch()  # everything is compiled by now, so timing starts
        learning = step >= contender.RANDOM
        watch.start()
        if learning:
            action = engine.act(observation[None])[0]
            watch.lap("act")
        else:
            action = rng.uniform(-1.0, 1.0, spaces.action_size).astype(np.float32)
        watch.start()
        stepped, reward, terminated, truncated, _ = env.step(spaces.to_env_action(action))
        next_observation = spaces.flat(stepped)
        watch.lap("environment step")
        ended = terminated or truncated
        replay.add(observation, action, float(reward), next_observation, bool(terminated), ended)
        watch.lap("replay add")
        if learning:
            batch = replay.sample(config.batch_size, rng, config.gamma)
            watch.lap("replay sample")
            time_update(engine, batch, watch)
        observation = spaces.flat(env.reset()[0]) if ended else next_observation
    env.close()
    updates = sum(len(watch.seconds[name]) for name in (CRITICS, ACTOR))
    frequency = {name: len(watch.seconds[name]) / updates for name in (CRITICS, ACTOR)}
    stages = [stage for u in range(1, RUN + 1) if (stage := method.stage(u, RUN)) is not None]
    if stages:
        time_restructures(engine, stages[0], watch)
        frequency[RESTRUCTURE] = len(stages) / RUN
    rows = []
    for name, seconds in watch.seconds.items():
        us, per_step = 1e6 * statistics.median(seconds), frequency.get(name, 1.0)
        if name == DISPATCH:
            per_step = 0.0
        rows.append({"part": name, "us": us, "per_step": per_step, "us_per_step": us * per_step})
    return rows


class Watch:
    """A stopwatch: `lap` adds the time since the last call to the measurements of a name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        """Starts the clock of the next lap."""
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Adds a measurement in seconds to those of `name` and starts the next lap."""
        self.seconds[name].append(time.perf_counter() - self.last)
        self.start()


def time_update(engine: Engine, rows: np.ndarray, watch: Watch) -> None:
    """Times one update: until the call returns, and until its results are computed."""
    moves_actor = "actor" in engine.algorithm.due(engine.updates)
    started = time.perf_counter()
    watch.last = started
    engine.update(rows)
    watch.lap(DISPATCH)
    watch.last = started
    jax.block_until_ready(engine.arrays)
    watch.lap(ACTOR if moves_actor else CRITICS)


def time_restructures(engine: Engine, stage: Hashable, watch: Watch) -> None:
    """Times `RESTRUCTURES` restructurings at one stage of the method."""
    for i in range(1 + RESTRUCTURES):
        watch.start()
        engine.restructure(stage, TrainingProgress(engine.updates, RUN))
        jax.block_until_ready(engine.arrays)
        if i:  # the first one compiles
            watch.lap(RESTRUCTURE)
