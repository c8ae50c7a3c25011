"""Who walks first: sparl's CrossQ, sparse, dense and *tiny*; SB3's SAC; SBX's CrossQ.

    python recipes/go1/race.py --who sparse --seed 0      # of sparl: sparse, dense, tiny
    sbx/bin/python recipes/go1/race.py --who sbx-crossq --seed 0   # in an environment of its own:
    python -m venv sbx && sbx/bin/pip install sbx-rl "gymnasium[mujoco]"

A Go1 is told to walk ahead at 1 m/s. All of sparl's have the settings of `walk.yaml`; *tiny* has
dense critics with as many weights as those at 1:8. The others have their own defaults, random
actions for as many first steps, and see the robot's velocity when they act, too. Every 5,000 steps
the policy without noise plays five episodes. Its error, its falls and the seconds of processor time
that training has taken so far are added to `results/go1/race.csv`. Give each run a core of its own
(`taskset`), or JAX and PyTorch start threads for all.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from environment import Go1
from gate import COMMANDS, walked

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent.parent / "results" / "go1" / "race.csv"
STEPS, EVERY, EPISODES, RANDOM = 60_000, 5_000, 5, 5_000
OF_METHOD = ("method", "pattern", "interval", "actor_pattern")
OF_SPARL: dict[str, dict[str, Any]] = {
    "sparse": {},
    "dense": {"method": "dense"},
    # 61 inputs, two layers, one output: 61 w + w^2 + w is at least 61 * 256 + 256^2 / 8 + 256.
    "tiny": {"method": "dense", "critic_hidden": [128, 128]},
}
OF_OTHERS = ("sb3-sac", "sbx-crossq")
COLUMNS = ("who", "seed", "step", "core_seconds", "error", "falls", "return")


class Race:
    """The rows of one run."""

    def __init__(self, who: str, seed: int, results: Path) -> None:
        self._name, self._results = (who, seed), results
        self._begun, self._measuring = time.process_time(), 0.0

    def measure(self, step: int, act: Callable[[Any], Any]) -> None:
        """Adds a row. What that takes is not counted as training."""
        now = time.process_time()
        seconds = now - self._begun - self._measuring
        (command,) = COMMANDS["forward"].values()
        found = walked(act, command, EPISODES)
        row = (*self._name, step, round(seconds), round(found.error, 3), found.falls)
        self._results.parent.mkdir(parents=True, exist_ok=True)
        new = not self._results.exists()
        with open(self._results, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow((*row, round(found.returned)))
        print(*row, round(found.returned), flush=True)
        self._measuring += time.process_time() - now


def run_sparl(race: Race, changes: dict[str, Any], seed: int, steps: int, out: Path) -> None:
    """A run with the settings of `walk.yaml` but for some."""
    import sparl  # the others are trained where it is not installed
    from sparl.config import yaml_file

    class Measure(sparl.Callback):
        def on_start(self, trainer: Any) -> None:
            self._trainer = trainer

        def on_step(self, step: int) -> None:
            if step % EVERY == 0:
                policy = self._trainer.policy()
                race.measure(step, lambda seen: policy.predict(seen)[0])

    options = yaml_file.read(HERE / "walk.yaml")
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
    from stable_baselines3 import SAC
    from stable_baselines3.common.callbacks import BaseCallback

    env = Go1("forward")
    spaces = env.observation_space
    flat = gym.wrappers.FlattenObservation(env)

    class Measure(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps % EVERY == 0:
                race.measure(self.num_timesteps, act)
            return True

    def act(seen: Any) -> Any:
        return model.predict(np.asarray(gym.spaces.flatten(spaces, seen)), deterministic=True)[0]

    options: dict[str, Any] = {"learning_starts": RANDOM, "seed": seed, "device": "cpu"}
    if who == "sb3-sac":
        model: Any = SAC("MlpPolicy", flat, **options)
    else:
        from sbx import CrossQ

        widths = {"net_arch": {"pi": [256, 256], "qf": [256, 256]}}
        model = CrossQ("MlpPolicy", flat, policy_kwargs=widths, **options)
    model.learn(steps, callback=Measure())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--who", choices=(*OF_SPARL, *OF_OTHERS), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=HERE.parent.parent / "runs" / "go1-race")
    asked = parser.parse_args()
    race = Race(asked.who, asked.seed, asked.results)
    if asked.who in OF_SPARL:
        out = asked.runs / f"{asked.who}-{asked.seed}"
        run_sparl(race, OF_SPARL[asked.who], asked.seed, asked.steps, out)
    else:
        run_other(race, asked.who, asked.seed, asked.steps)


if __name__ == "__main__":
    main()
