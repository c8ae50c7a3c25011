"""Who walks first: sparl's agents, sparse, dense and *tiny*; Stable-Baselines3's; SBX's CrossQ.

    python recipes/go1/race.py --who sparse --seed 0                  # ahead at 1 m/s: CrossQ
    python recipes/go1/race.py --commands any --who small --seed 0    # where it is told: PPO
    sbx/bin/python recipes/go1/race.py --who sbx-crossq --seed 0      # in one of its own:
    python -m venv sbx && sbx/bin/pip install sbx-rl "gymnasium[mujoco]"

Ahead at 1 m/s all of sparl's have the settings of `walk.yaml` (sparse), and *tiny* has dense
critics with as many weights as those at 1:8. The others have their own defaults, and random actions
for as many first steps. Where it is told, all have the settings of `any.yaml` (small: 2x32, dense);
sparse is 2x64, of four inputs one is kept in the first layer and of eight in the second; *tiny* has
as many weights, dense. The others see the robot's velocity when they act, too.

Every 5,000 steps, or 100,000, the policy without noise plays five episodes of each command. Its
largest error, its falls and the seconds of processor time that training has taken so far are added
to `results/go1/race.csv`, or `any.csv`. Give each run a core of its own (`taskset`), or JAX and
PyTorch start threads for all.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from environment import Go1
from gate import COMMANDS, walked

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent.parent / "results" / "go1"
EPISODES, RANDOM = 5, 5_000


class Course(NamedTuple):
    """What those who race are told, and who they are."""

    config: str
    steps: int
    every: int
    table: str
    sparl: dict[str, dict[str, Any]]
    """By name what is other than in `config`; a method takes away that of `config`."""
    others: tuple[str, ...]


COURSES = {
    "forward": Course(
        *("walk.yaml", 60_000, 5_000, "race.csv"),
        {
            "sparse": {},
            "dense": {"method": "dense"},
            # 61 inputs, one output: 62 w + w^2 is at least 62 * 256 + 256^2 / 8.
            "tiny": {"method": "dense", "critic_hidden": [128, 128]},
        },
        ("sb3-sac", "sbx-crossq"),
    ),
    "any": Course(
        *("any.yaml", 2_000_000, 100_000, "any.csv"),
        {
            "small": {},
            "sparse": {"hidden": [64, 64]}
            | {"method": "rnm", "pattern": "1:8", "first_pattern": "1:4"},
            # 45 inputs, 12 actions: 57 w + w^2 is at least 64 * 12 + 64 * 8 + 64 * 12.
            "tiny": {"hidden": [25, 25]},
        },
        ("sb3-ppo",),
    ),
}
OF_METHOD = ("method", "pattern", "interval", "actor_pattern")
COLUMNS = ("who", "seed", "step", "core_seconds", "error", "falls", "return")


class Race:
    """The rows of one run."""

    def __init__(self, commands: str, who: str, seed: int, results: Path) -> None:
        self.commands, self.course = commands, COURSES[commands]
        self._name, self._results, self._env = (who, seed), results, Go1(commands)
        self._begun, self._measuring = time.process_time(), 0.0

    def measure(self, step: int, act: Callable[[Any], Any]) -> None:
        """Adds a row. What that takes is not counted as training."""
        now = time.process_time()
        seconds = now - self._begun - self._measuring
        walks = [
            walked(act, command, EPISODES, self._env)
            for command in COMMANDS[self.commands].values()
        ]
        # One that fell at once has no error: it is as far off as one can be.
        error = max(float("inf") if np.isnan(walk.error) else walk.error for walk in walks)
        returned = round(sum(walk.returned for walk in walks) / len(walks))
        falls = sum(walk.falls for walk in walks)
        row = (*self._name, step, round(seconds), round(error, 3), falls, returned)
        self._results.parent.mkdir(parents=True, exist_ok=True)
        new = not self._results.exists()
        with open(self._results, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(row)
        print(*row, flush=True)
        self._measuring += time.process_time() - now


def run_sparl(race: Race, changes: dict[str, Any], seed: int, steps: int, out: Path) -> None:
    """A run with the settings of the course's file but for some."""
    import sparl  # the others are trained where it is not installed
    from sparl.config import yaml_file

    class Measure(sparl.Callback):
        def on_start(self, trainer: Any) -> None:
            self._trainer = trainer

        def on_step(self, step: int) -> None:
            if step % race.course.every == 0:
                policy = self._trainer.policy()
                race.measure(step, lambda seen: policy.predict(seen)[0])

    options = yaml_file.read(HERE / race.course.config)
    if "method" in changes:
        options = {name: options[name] for name in options if name not in OF_METHOD}
    options |= changes | {"eval_every": steps, "eval_episodes": 1}
    study = {
        "envs": [f"{HERE / 'environment.py'}:Go1"],
        "seeds": [seed],
        "steps": steps,
        "variants": {"race": {k: v for k, v in options.items() if k not in ("env", "steps")}},
    }
    (job,) = sparl.sweeps.Study.of(study).jobs()
    run = {name: value for name, value in vars(job.run).items() if name != "env"}
    sparl.train(job.run.env, job.agent, job.method, out=out, callbacks=[Measure()], **run)


def run_other(race: Race, who: str, seed: int, steps: int) -> None:
    """A run of Stable-Baselines3 or SBX, which see all entries of an observation as one vector."""
    import torch
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    def flat() -> gym.Env:
        return gym.wrappers.FlattenObservation(Go1(race.commands))

    class Measure(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps % race.course.every == 0:
                race.measure(self.num_timesteps, act)
            return True

    def act(seen: Any) -> Any:
        return model.predict(
            scaled(np.asarray(gym.spaces.flatten(spaces, seen))), deterministic=True
        )[0]

    spaces = Go1(race.commands).observation_space
    scaled: Callable[[Any], Any] = lambda seen: seen  # noqa: E731
    options: dict[str, Any] = {"learning_starts": RANDOM, "seed": seed, "device": "cpu"}
    model: Any
    if who == "sb3-sac":
        model = SAC("MlpPolicy", flat(), **options)
    elif who == "sbx-crossq":
        from sbx import CrossQ

        widths = {"net_arch": {"pi": [256, 256], "qf": [256, 256]}}
        model = CrossQ("MlpPolicy", flat(), policy_kwargs=widths, **options)
    else:  # what any.yaml says
        torch.set_num_threads(1)
        envs = VecNormalize(DummyVecEnv([flat] * 16), gamma=0.98)
        scaled = envs.normalize_obs
        model = PPO(
            *("MlpPolicy", envs, 1e-3),
            **{"n_steps": 256, "batch_size": 512, "n_epochs": 5, "gamma": 0.98},
            policy_kwargs={
                "net_arch": {"pi": [32, 32], "vf": [64, 64]},
                "activation_fn": torch.nn.ReLU,
                "log_std_init": math.log(0.4),
            },
            **{"seed": seed, "device": "cpu"},
        )
    model.learn(steps, callback=Measure())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    who = [name for course in COURSES.values() for name in (*course.sparl, *course.others)]
    parser.add_argument("--commands", choices=COURSES, default="forward")
    parser.add_argument("--who", choices=dict.fromkeys(who), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, help="those of the course if not given")
    parser.add_argument("--results", type=Path, help="a table; that of the course if not given")
    parser.add_argument("--runs", type=Path, default=HERE.parent.parent / "runs" / "go1-race")
    asked = parser.parse_args()
    course = COURSES[asked.commands]
    if asked.who not in (*course.sparl, *course.others):
        parser.error(f"{asked.who} does not race where commands are {asked.commands}")
    race = Race(asked.commands, asked.who, asked.seed, asked.results or RESULTS / course.table)
    steps = asked.steps or course.steps
    if asked.who in course.sparl:
        out = asked.runs / f"{asked.commands}-{asked.who}-{asked.seed}"
        run_sparl(race, course.sparl[asked.who], asked.seed, steps, out)
    else:
        run_other(race, asked.who, asked.seed, steps)


if __name__ == "__main__":
    main()
