"""Stable-Baselines3's SAC and SBX's CrossQ on the tasks of `presets.py`, for its pictures.

    python -m venv sbx && sbx/bin/pip install sbx-rl "gymnasium[mujoco]"
    sbx/bin/python recipes/presets_peers.py --who sb3-sac --env Ant-v5 --seed 0 --steps 60000
    sbx/bin/python recipes/presets_peers.py --who sb3-sac --env Ant-v5 --timed

Actors have two layers of 256. Critics have as well, but for `sbx-crossq-1024`, which is what SBX
has where nothing is said. The first 5,000 actions are random, as in the presets; all else is as
their authors left it. Every 5,000 steps the return of ten episodes of the policy without noise, in
an environment of its own, is kept; at the end they are added to `results/presets/`.

Timed, it learns for a few thousand steps and prints how many it makes in a second: `speeds.py` asks
for that. It needs nothing of sparl.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from peers import ROOT, Evaluate, parser, record
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

CRITICS = {"sb3-sac": 256, "sbx-crossq": 256, "sbx-crossq-1024": 1024}
"""Who there is, and how wide critics are."""
EVAL_EVERY, RANDOM = 5_000, 5_000
WARM, TIMED = 1_000, 1_500
"""Steps before the clock starts, and timed steps; the first 500 are random here."""


class Clock(BaseCallback):
    """Steps per second, but for the first `WARM`."""

    def __init__(self) -> None:
        super().__init__()
        self._at: dict[int, float] = {}

    def _on_step(self) -> bool:
        self._at[self.num_timesteps] = time.perf_counter()
        return True

    def speed(self) -> float:
        """Of the steps that were timed."""
        return TIMED / (self._at[WARM + TIMED] - self._at[WARM])


def main() -> None:
    """The command line."""
    words = parser(__doc__)
    words.add_argument("--who", choices=CRITICS, required=True)
    words.add_argument("--env", required=True, help="a preset with continuous actions")
    words.add_argument("--steps", type=int, default=60_000)
    words.add_argument("--results", type=Path, default=ROOT / "results" / "presets")
    words.add_argument("--core", type=int, help="number of the only core to run on; Linux")
    words.add_argument("--timed", action="store_true", help="steps per second, and no results")
    asked = words.parse_args()
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if asked.timed:
        clock = Clock()
        model(asked.who, asked.env, asked.seed, 500).learn(WARM + TIMED, callback=clock)
        print(f"{clock.speed():.1f}")
        return
    evaluate = Evaluate(make_vec_env(asked.env, 1, seed=10_000 + asked.seed), EVAL_EVERY)
    model(asked.who, asked.env, asked.seed, RANDOM).learn(asked.steps, callback=evaluate)
    record(asked.results / asked.env, asked.env, asked.who, asked.seed, evaluate.returns)


def model(who: str, env: str, seed: int, random: int) -> Any:
    """The agent, untrained, whose first so many actions are random."""
    kind: Any
    if who == "sb3-sac":
        from stable_baselines3 import SAC as kind
    else:
        from sbx import CrossQ as kind
    widths = {"pi": [256, 256], "qf": [CRITICS[who]] * 2}
    given = {"learning_starts": random, "policy_kwargs": {"net_arch": widths}}
    return kind("MlpPolicy", env, seed=seed, device="cpu", **given)


if __name__ == "__main__":
    main()
