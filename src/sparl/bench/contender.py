"""One contender's training, timed: what `sparl bench train` runs in a process of its own.

    python -P contender.py NAME ENV WIDTH STEPS      prints steps per second

It is run by its path, and imports nothing of sparl or JAX before it is needed: the process of
another code is then no different from that of its own users. All train TD3 with two hidden layers
of one width and the settings below, one update per environment step, on all cores.
"""

# The other codes come with the extra `bench`, which need not be there to check types.
# pyright: reportMissingImports=false

from __future__ import annotations

import csv
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RANDOM, WARM = 500, 1_500
"""Random steps at the start, and steps before the clock starts: up to the first restructuring,
so that all is compiled by then."""

LEARNING_RATE, BATCH, DELAY, NOISE = 3e-4, 256, 2, 0.1


def sparl(pattern: str, env: str, width: int, steps: int) -> float:
    """Steps per second of sparl; `pattern` is dense or N:M."""
    from sparl import api
    from sparl.training import Interrupted

    last = WARM + steps
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        try:
            api.train(
                env,
                agent_of(width),
                method_of(pattern),
                steps=last,
                # One evaluation, after the clock was read for the last time.
                eval_every=last,
                eval_episodes=1,
                log_every=WARM,
                checkpoint_every=10 * last,
                out=out,
                quiet=True,
            )
        except Interrupted:
            # Its message tells how to go on with a run that is deleted here.
            raise KeyboardInterrupt from None
        with open(out / "metrics.csv") as file:
            clock = {int(row["step"]): float(row["wall_seconds"]) for row in csv.DictReader(file)}
    return steps / (clock[last] - clock[WARM])


def agent_of(width: int) -> Any:
    """TD3 with the settings of all contenders."""
    from sparl.agents import TD3

    return TD3(
        hidden=(width, width),
        learning_rate=LEARNING_RATE,
        batch_size=BATCH,
        policy_delay=DELAY,
        exploration_noise=NOISE,
        learning_starts=RANDOM,
    )


def method_of(pattern: str) -> Any:
    """dense, or RNM with a pattern N:M."""
    from sparl.errors import BadValue
    from sparl.methods import RNM, Dense
    from sparl.topology import NofM

    if pattern == "dense":
        return Dense()
    if ":" not in pattern:
        raise BadValue(f"pattern {pattern!r} is neither dense nor N:M, as 2:4")
    parsed = NofM.parse(pattern)
    return RNM(parsed.n, parsed.m)


def peer(name: str, env: str, width: int, steps: int) -> float:
    """Steps per second of Stable-Baselines3 (sb3) or of SBX (sbx), on the CPU."""
    import gymnasium as gym
    import numpy as np
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise

    if name == "sb3":
        from stable_baselines3 import TD3
    else:
        from sbx import TD3
    if hasattr(os, "sched_getaffinity"):
        # PyTorch would take one per physical core; XLA takes all that the process may use.
        torch.set_num_threads(len(os.sched_getaffinity(0)))

    class Clock(BaseCallback):
        started = 0.0

        def _on_step(self) -> bool:
            if self.num_timesteps == WARM:
                self.started = time.perf_counter()
            return True

    made = gym.make(env)
    assert isinstance(made.action_space, gym.spaces.Box)
    size = made.action_space.shape[0]
    agent = TD3(
        "MlpPolicy",
        made,
        learning_rate=LEARNING_RATE,
        batch_size=BATCH,
        learning_starts=RANDOM,
        train_freq=1,
        gradient_steps=1,
        policy_delay=DELAY,
        action_noise=NormalActionNoise(np.zeros(size), NOISE * np.ones(size)),
        policy_kwargs={"net_arch": [width, width]},
        device="cpu",
        seed=0,
    )
    clock = Clock()
    agent.learn(WARM + steps, callback=clock)
    return steps / (time.perf_counter() - clock.started)


def main(name: str, env: str, width: str, steps: str) -> None:
    measure = peer if name in ("sb3", "sbx") else sparl
    print(measure(name, env, int(width), int(steps)))


if __name__ == "__main__":
    main(*sys.argv[1:])
