"""PPO of Stable-Baselines3 on the tasks of `ppo.py`, for its pictures.

    python -m venv sb3 && sb3/bin/pip install stable-baselines3 "gymnasium[mujoco,box2d]"
    sb3/bin/python recipes/sb3_ppo.py --env LunarLander-v3 --seed 0

The settings of the RL Zoo but for schedules of the clip range. Ten times in a run the return of ten
episodes of the policy without noise is added to `results/ppo/`. It needs nothing of sparl.
"""

from __future__ import annotations

from typing import Any

import torch
from peers import Evaluate, asked, record
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

VARIANT = "sb3"


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
        "steps": 1_000_000,
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


def main() -> None:
    wanted, folder = asked(__doc__, list(OF_ENVS), "ppo")
    torch.set_num_threads(1)
    options = dict(OF_ENVS[wanted.env])
    steps, count = options.pop("steps"), options.pop("envs")
    env = make_vec_env(wanted.env, count, seed=wanted.seed)
    evaluated: Any = make_vec_env(wanted.env, 1, seed=10_000 + wanted.seed)
    if options.pop("normalize", False):
        env = VecNormalize(env, gamma=options["gamma"])
        evaluated = VecNormalize(evaluated, training=False, norm_reward=False)
    model = PPO("MlpPolicy", env, seed=wanted.seed, device="cpu", **options)
    evaluate = Evaluate(evaluated, steps // 10)
    model.learn(steps, callback=evaluate)
    record(folder, wanted.env, VARIANT, wanted.seed, evaluate.returns)


if __name__ == "__main__":
    main()
