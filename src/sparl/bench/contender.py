"""Times the training of one contender: `sparl bench train` runs this file as a process.

    python -P contender.py NAME ENV WIDTH STEPS      prints steps per second

The file is run by its path and imports sparl and JAX only where they are needed. So the process of
another library is like that of its own users. All contenders train TD3 with two hidden layers of
one width and the settings below, with one update per environment step, on all cores.
"""

# The other libraries come with the extra `bench`; types are checked without them.
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
"""Random steps at the start, and steps before the clock starts. The clock starts after the first
restructuring, when everything is compiled."""

LEARNING_RATE, BATCH, DELAY, NOISE = 3e-4, 256, 2, 0.1


def sparl(pattern: str, env: str, width: int, steps: int) -> float:
    """Gives the steps per second of sparl.

    Args:
        pattern: dense or N:M.
        env: Gymnasium id.
        width: Width of both hidden layers.
        steps: Timed steps.
    """
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
                # The only evaluation comes after the clock was read for the last time.
                eval_every=last,
                eval_episodes=1,
                log_every=WARM,
                checkpoint_every=10 * last,
                out=out,
                quiet=True,
            )
        except Interrupted:
            # Its message says how to resume the run, but that run is deleted here.
            raise KeyboardInterrupt from None
        with open(out / "metrics.csv", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            seconds_at = {int(row["step"]): float(row["wall_seconds"]) for row in rows}
    return steps / (seconds_at[last] - seconds_at[WARM])


def agent_of(width: int) -> Any:
    """Gives sparl's TD3 with the settings of all contenders."""
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
    """Gives the method of a pattern: `Dense` for dense, RNM for N:M.

    Raises:
        BadValue: It is neither.
    """
    from sparl.errors import BadValue
    from sparl.methods import RNM, Dense
    from sparl.topology import NofM

    if pattern == "dense":
        return Dense()
    if ":" not in pattern:
        raise BadValue(f"pattern {pattern!r} is neither dense nor N:M, as 2:4")
    parsed = NofM.parse(pattern)
    return RNM(parsed.n, parsed.m, parsed.v)


def peer(name: str, env: str, width: int, steps: int) -> float:
    """Gives the steps per second of Stable-Baselines3 (sb3) or of SBX (sbx), on the CPU."""
    import gymnasium as gym
    import numpy as np
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise

    if name == "sb3":
        from stable_baselines3 import TD3
    else:
        from sbx import TD3
    if sys.platform == "linux":
        # PyTorch takes one thread per physical core; XLA takes all cores the process may use.
        torch.set_num_threads(len(os.sched_getaffinity(0)))

    class Clock(BaseCallback):
        started = 0.0

        def _on_step(self) -> bool:
            if self.num_timesteps == WARM:
                self.started = time.perf_counter()
            return True

    environment = gym.make(env)
    assert isinstance(environment.action_space, gym.spaces.Box)
    size = environment.action_space.shape[0]
    agent = TD3(
        "MlpPolicy",
        environment,
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
    """Prints the steps per second of a contender: sb3, sbx, dense or N:M."""
    measure = peer if name in ("sb3", "sbx") else sparl
    print(measure(name, env, int(width), int(steps)))


if __name__ == "__main__":
    main(*sys.argv[1:])
