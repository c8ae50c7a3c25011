"""Whole training, steps per second, side by side with Stable-Baselines3 in one run.

    pip install ".[bench]"
    python benchmarks/train.py --json train.json

Every contender trains TD3 with 2x256 networks, batch 256, one update per environment step, the
same learning rate and exploration, each in a process of its own, in turn, several times. Timed
are the steps after a warm-up that includes compilation; evaluation is outside of it. Leave the
machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RANDOM, WARM = 500, 1_500
"""Random steps at the start, and steps before the clock starts."""


def sparl(method: str, env: str, steps: int, width: int) -> float:
    """Steps per second of sparl; `method` is dense or a pattern N:M."""
    import sparl

    chosen = sparl.methods.Dense()
    if method != "dense":
        n, m = map(int, method.split(":"))
        chosen = sparl.RNM(n, m)
    with tempfile.TemporaryDirectory() as folder:
        sparl.train(
            env,
            sparl.TD3Config(hidden=(width, width), learning_starts=RANDOM),
            chosen,
            steps=WARM + steps,
            eval_every=WARM + steps,
            eval_episodes=1,
            log_every=WARM,
            checkpoint_every=10 * (WARM + steps),
            out=Path(folder) / "run",
            quiet=True,
        )
        with open(Path(folder) / "run" / "metrics.csv") as file:
            clock = {int(row["step"]): float(row["wall_seconds"]) for row in csv.DictReader(file)}
    return steps / (clock[WARM + steps] - clock[WARM])


def stable_baselines3(env: str, steps: int, width: int) -> float:
    """Steps per second of Stable-Baselines3's TD3, on the CPU."""
    import gymnasium as gym
    import numpy as np
    from stable_baselines3 import TD3
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise

    class Clock(BaseCallback):
        started = 0.0

        def _on_step(self) -> bool:
            if self.num_timesteps == WARM:
                self.started = time.perf_counter()
            return True

    made = gym.make(env)
    size = made.action_space.shape[0]
    agent = TD3(
        "MlpPolicy",
        made,
        learning_rate=3e-4,
        batch_size=256,
        learning_starts=RANDOM,
        train_freq=1,
        gradient_steps=1,
        policy_delay=2,
        action_noise=NormalActionNoise(np.zeros(size), 0.1 * np.ones(size)),
        policy_kwargs={"net_arch": [width, width]},
        device="cpu",
        seed=0,
    )
    clock = Clock()
    agent.learn(WARM + steps, callback=clock)
    return steps / (time.perf_counter() - clock.started)


def measure(name: str, env: str, steps: int, width: int) -> float:
    if name == "sb3":
        return stable_baselines3(env, steps, width)
    return sparl(name, env, steps, width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--width", type=int, default=256, help="of both hidden layers")
    parser.add_argument("--steps", type=int, default=3_000, help="timed steps of one repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--names", nargs="+", default=["sb3", "dense", "2:4", "1:4", "1:8"])
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(measure(asked.one, asked.env, asked.steps, asked.width))
        return
    if "sb3" not in asked.names:
        parser.error("--names must have sb3: every ratio is to it")
    found: dict[str, list[float]] = {name: [] for name in asked.names}
    for repetition in range(asked.repetitions):
        for name in asked.names:
            command = [sys.executable, __file__, "--one", name, "--env", asked.env]
            command += ["--width", str(asked.width), "--steps", str(asked.steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[name].append(float(output.split()[-1]))
            print(f"{repetition + 1}/{asked.repetitions} {name}: {found[name][-1]:.0f} steps/s")
    base = found["sb3"]
    rows = [
        {
            "name": name,
            "steps_per_second": statistics.median(speeds),
            # Pair by pair: neighbours in time saw the same machine.
            "ratio_to_sb3": statistics.median(a / b for a, b in zip(speeds, base, strict=True)),
            "all": speeds,
        }
        for name, speeds in found.items()
    ]
    for row in rows:
        print(f"{row['name']:>6}  {row['steps_per_second']:7.0f}  {row['ratio_to_sb3']:.2f}x")
    if asked.json:
        report = {"env": asked.env, "width": asked.width, "rows": rows}
        asked.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
