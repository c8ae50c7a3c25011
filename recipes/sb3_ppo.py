"""PPO of Stable-Baselines3 on the tasks of `ppo.py`, for its pictures.

    python -m venv sb3 && sb3/bin/pip install stable-baselines3 "gymnasium[mujoco,box2d]"
    sb3/bin/python recipes/sb3_ppo.py --env LunarLander-v3 --seed 0

The settings of the RL Zoo but for schedules of the clip range. Ten times in a run the return of ten
episodes of the policy without noise is added to `results/ppo/`. It needs nothing of sparl.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize, sync_envs_normalization

RESULTS = Path(__file__).resolve().parent.parent / "results" / "ppo"
VARIANT, EPISODES = "sb3", 10
COLUMNS = ("env", "variant", "seed", "step", "eval_return")


def falling(progress: float) -> float:
    """A learning rate that falls along a line from 0.001 to 0."""
    return 0.001 * progress


OF_ENVS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "steps": 100_000,
        "envs": 8,
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "learning_rate": falling,
    },
    "LunarLander-v3": {
        "steps": 300_000,
        "envs": 16,
        "n_steps": 1024,
        "batch_size": 64,
        "gae_lambda": 0.98,
        "gamma": 0.999,
        "n_epochs": 4,
        "ent_coef": 0.01,
    },
    "HalfCheetah-v5": {
        "steps": 300_000,
        "envs": 1,
        "normalize": True,
        "n_steps": 512,
        "batch_size": 64,
        "gae_lambda": 0.92,
        "gamma": 0.98,
        "n_epochs": 20,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
        "policy_kwargs": {
            "log_std_init": -2,
            "ortho_init": False,
            "activation_fn": torch.nn.ReLU,
            "net_arch": {"pi": [256, 256], "vf": [256, 256]},
        },
    },
}


class Evaluate(BaseCallback):
    """Evaluates every so many steps and keeps the mean returns."""

    def __init__(self, env: Any, every: int) -> None:
        super().__init__()
        self.env, self.every = env, every
        self.returns: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps // self.every > len(self.returns):
            if isinstance(self.env, VecNormalize):
                sync_envs_normalization(self.training_env, self.env)
            mean, _ = evaluate_policy(self.model, self.env, EPISODES, warn=False)
            self.returns.append((self.every * (len(self.returns) + 1), float(mean)))
            print(f"step {self.num_timesteps:,}: {mean:.1f}", flush=True)
        return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", choices=OF_ENVS, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    options = dict(OF_ENVS[asked.env])
    steps, count = options.pop("steps"), options.pop("envs")
    env = make_vec_env(asked.env, count, seed=asked.seed)
    evaluated: Any = make_vec_env(asked.env, 1, seed=10_000 + asked.seed)
    if options.pop("normalize", False):
        env = VecNormalize(env, gamma=options["gamma"])
        evaluated = VecNormalize(evaluated, training=False, norm_reward=False)
    model = PPO("MlpPolicy", env, seed=asked.seed, device="cpu", **options)
    evaluate = Evaluate(evaluated, steps // 10)
    model.learn(steps, callback=evaluate)
    path = asked.results / asked.env.partition("-")[0].lower() / "curves.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for step, value in evaluate.returns:
            writer.writerow((asked.env, VARIANT, asked.seed, step, f"{value:.6g}"))


if __name__ == "__main__":
    main()
