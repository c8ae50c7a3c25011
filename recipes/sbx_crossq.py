"""CrossQ of SBX (Stable-Baselines3 in JAX) on the tasks of `crossq_peers.py`, for its pictures.

    python -m venv sbx && sbx/bin/pip install sbx-rl "gymnasium[mujoco]"
    sbx/bin/python recipes/sbx_crossq.py --env Walker2d-v5 --seed 0

Networks of 2x256 in actor and critics, random actions for the first 5,000 steps, as in ours; all
else as SBX has it. Every 10,000 steps the return of ten episodes of the policy without noise, in an
environment of its own, is added to `results/crossq_peers/`. It needs nothing of sparl.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import gymnasium as gym
from sbx import CrossQ
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

RESULTS = Path(__file__).resolve().parent.parent / "results" / "crossq_peers"
VARIANT, STEPS, EVAL_EVERY, EPISODES = "sbx", 100_000, 10_000, 10
COLUMNS = ("env", "variant", "seed", "step", "eval_return")


class Evaluate(BaseCallback):
    """Evaluates every `EVAL_EVERY` steps and keeps the mean returns."""

    def __init__(self, env: str, seed: int) -> None:
        super().__init__()
        self.env = gym.make(env)
        self.env.reset(seed=10_000 + seed)
        self.returns: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % EVAL_EVERY == 0:
            mean, _ = evaluate_policy(self.model, self.env, EPISODES, warn=False)
            self.returns.append((self.num_timesteps, float(mean)))
            print(f"step {self.num_timesteps:,}: {mean:.1f}", flush=True)
        return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", choices=("Walker2d-v5", "HalfCheetah-v5"), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    widths = {"pi": [256, 256], "qf": [256, 256]}
    model = CrossQ(
        "MlpPolicy",
        asked.env,
        learning_starts=5_000,
        policy_kwargs={"net_arch": widths},
        seed=asked.seed,
        device="cpu",
    )
    evaluated = Evaluate(asked.env, asked.seed)
    model.learn(STEPS, callback=evaluated)
    path = asked.results / asked.env.removesuffix("-v5").lower() / "curves.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for step, value in evaluated.returns:
            writer.writerow((asked.env, VARIANT, asked.seed, step, value))


if __name__ == "__main__":
    main()
