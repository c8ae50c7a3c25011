"""Makes the files beside it: small agents as Stable-Baselines3 saves them, and what they compute.

    python tests/helpers/sb3_files/make.py [NAME …]      # needs stable-baselines3 and sb3-contrib

NAME.zip is what `model.save` writes, less pickles, docstrings and what it tells of the machine:
sparl reads none of these. NAME.npz has observations with the actions that `predict` gives to them,
what every network makes of the first of them, and what it makes of them after two updates more, on
transitions that are there, too. For those in `OTHERS` there is predicted.npz alone, which has by
NAME what `predict` gives to the observations NAME_seen; vecnormalize.pkl is what VecNormalize saved
beside `ppo`. `sac_sde` is saved as PyTorch wrote files before 1.6.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import QRDQN, TQC, TRPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

FEW = 100
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the tiny environments

COMMON: dict[str, Any] = {"learning_starts": 50, "batch_size": 16, "seed": 3, "device": "cpu"}
AGENTS = {
    # Without noise on the target action two updates can be repeated elsewhere.
    "td3": lambda: TD3(
        "MlpPolicy",
        "environments:Point-v0",
        policy_kwargs={"net_arch": [8, 8]},
        target_policy_noise=0.0,
        action_noise=NormalActionNoise(np.zeros(1), np.full(1, 0.3)),
        gamma=0.9,
        **COMMON,
    ),
    "sac": lambda: SAC(
        "MlpPolicy",
        "LunarLanderContinuous-v3",
        policy_kwargs={"net_arch": {"pi": [8, 8], "qf": [12]}},
        **COMMON,
    ),
    "dqn": lambda: DQN(
        "MlpPolicy",
        "CartPole-v1",
        policy_kwargs={"net_arch": [8, 8]},
        target_update_interval=70,
        buffer_size=5_000,
        **COMMON,
    ),
}

ROLLOUTS: dict[str, Any] = {"n_steps": 32, "seed": 3, "device": "cpu"}
POINT, TWO_CHOICES = (f"environments:{name}-v0" for name in ("Point", "TwoChoices"))


def arch(*pi: int, **options: Any) -> dict[str, Any]:
    return {"net_arch": {"pi": list(pi), "vf": [12]}, **options}


def normalizing() -> VecNormalize:
    """Two points on a line, whose observations and rewards are normalised."""
    made = DummyVecEnv([lambda: gym.make(POINT)] * 2)
    return VecNormalize(made, clip_obs=1.5, epsilon=1e-4, gamma=0.9)


OTHERS = {
    "ppo": lambda: PPO(
        "MlpPolicy",
        normalizing(),
        policy_kwargs=arch(8, 6, activation_fn=torch.nn.ELU),
        learning_rate=lambda left: 1e-3 * left,
        batch_size=16,
        n_epochs=2,
        gamma=0.9,
        clip_range=0.3,
        **ROLLOUTS,
    ),
    "ppo_discrete": lambda: PPO(
        "MlpPolicy", "CartPole-v1", policy_kwargs=arch(8), batch_size=16, n_epochs=2, **ROLLOUTS
    ),
    "ppo_sde": lambda: PPO(
        "MlpPolicy",
        POINT,
        policy_kwargs=arch(8, squash_output=True),
        use_sde=True,
        batch_size=16,
        **ROLLOUTS,
    ),
    "ppo_choices": lambda: PPO(
        "MlpPolicy", TWO_CHOICES, policy_kwargs=arch(8), batch_size=16, **ROLLOUTS
    ),
    "a2c": lambda: A2C(
        "MlpPolicy",
        "Pendulum-v1",
        policy_kwargs=arch(8, activation_fn=torch.nn.SiLU),
        **ROLLOUTS,
    ),
    "trpo": lambda: TRPO("MlpPolicy", POINT, policy_kwargs=arch(8), batch_size=16, **ROLLOUTS),
    "ddpg": lambda: DDPG("MlpPolicy", POINT, policy_kwargs={"net_arch": [8, 6]}, **COMMON),
    "td3_three": lambda: TD3(
        "MlpPolicy", POINT, policy_kwargs={"net_arch": [8], "n_critics": 3}, **COMMON
    ),
    "sac_sde": lambda: SAC(
        "MlpPolicy",
        POINT,
        policy_kwargs={"net_arch": [8], "clip_mean": 0.6},
        use_sde=True,
        **COMMON,
    ),
    "sac_tanh": lambda: SAC(
        "MlpPolicy",
        POINT,
        policy_kwargs={"net_arch": [8], "activation_fn": torch.nn.Tanh},
        learning_rate=lambda left: 1e-3 * (0.1 + left),
        ent_coef=0.2,
        **COMMON,
    ),
    "tqc": lambda: TQC(
        "MlpPolicy", POINT, policy_kwargs={"net_arch": [8], "n_quantiles": 5}, **COMMON
    ),
    "qrdqn": lambda: QRDQN(
        "MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [8], "n_quantiles": 5}, **COMMON
    ),
}


def make_others(names: list[str]) -> None:
    path, rng = HERE / "predicted.npz", np.random.default_rng(1)
    with np.load(path) if path.exists() else nullcontext({}) as before:
        found = dict(before)
    for name in names:
        model = OTHERS[name]()
        model.learn(302 if hasattr(model, "replay_buffer") else 64)
        if hasattr(model.policy, "action_net"):  # a first one hardly tells states apart
            model.policy.action_net.weight.data *= 60
        model.save(HERE / f"{name}.zip")
        before_1_6 = name == "sac_sde"
        leave_out_what_is_not_read(HERE / f"{name}.zip", before_1_6)
        seen = rng.normal(0, 2, (FEW, *model.observation_space.shape)).astype(np.float32)
        shown, normalizes = seen, model.get_vec_normalize_env()
        if normalizes is not None:
            normalizes.save(HERE / "vecnormalize.pkl")
            shown = normalizes.normalize_obs(seen)
        found |= {f"{name}_seen": seen, name: model.predict(shown, deterministic=True)[0]}
        assert name == "ppo_discrete" or len(np.unique(found[name], axis=0)) > 1, name
    np.savez_compressed(path, **found)


def main() -> None:
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [*AGENTS, *OTHERS]
    make_others([name for name in wanted if name in OTHERS])
    for name, make in AGENTS.items():
        if name not in wanted:
            continue
        model = make()
        model.learn(302)
        model.save(HERE / f"{name}.zip")
        leave_out_what_is_not_read(HERE / f"{name}.zip")
        rng = np.random.default_rng(1)
        observation = rng.normal(0, 2, (1000, *model.observation_space.shape)).astype(np.float32)
        found = {
            "observation": observation,
            "predicted": model.predict(observation, deterministic=True)[0],
            **networks(name, model, observation[:FEW], rng),
        }
        if name != "sac":  # whose updates draw random numbers
            batches = [sample(model, rng) for _ in range(2)]
            found |= {"rows": np.stack([rows(batch) for batch in batches])}
            found |= after(name, model, observation[:FEW], batches)
        np.savez_compressed(HERE / f"{name}.npz", **found)


def leave_out_what_is_not_read(path: Path, before_1_6: bool = False) -> None:
    """Pickles become empty strings, docstrings go, and so does what tells of this machine.

    `before_1_6`: tensors are written anew, as old PyTorch did it.
    """
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    del content["system_info.txt"]
    for name in [name for name in content if name.endswith(".pth") and before_1_6]:
        tensors, old = torch.load(io.BytesIO(content[name])), io.BytesIO()
        torch.save(tensors, old, _use_new_zipfile_serialization=False)
        content[name] = old.getvalue()
    data = json.loads(content["data"])
    for value in data.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value.pop("__doc__", None)
            value[":serialized:"] = ""
    content["data"] = json.dumps(data, indent=1).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, stored in content.items():
            archive.writestr(zipfile.ZipInfo(name), stored)


def networks(
    name: str, model: Any, observation: np.ndarray, rng: np.random.Generator | None = None
) -> dict[str, np.ndarray]:
    """What the networks give, by sparl's names of them, [batch, outputs]. Critics see the
    observation and `action`, which the generator draws, or zeros."""
    policy, x = model.policy, torch.as_tensor(observation)
    if name == "dqn":
        found = {"q": policy.q_net(x), "target_q": policy.q_net_target(x)}
        return {key: value.detach().numpy() for key, value in found.items()}
    size = (len(observation), *model.action_space.shape)
    action = np.zeros(size) if rng is None else rng.uniform(-1, 1, size)
    action = torch.as_tensor(action, dtype=torch.float32)
    found = {"action": action}
    for prefix, critic in (("", policy.critic), ("target_", policy.critic_target)):
        values = critic(x, action)
        found |= {f"{prefix}critic_{i}": value for i, value in enumerate(values)}
    if name == "td3":
        found |= {"actor": policy.actor(x), "target_actor": policy.actor_target(x)}
    else:
        mean, log_std, _ = policy.actor.get_action_dist_params(x)
        found |= {"actor": torch.cat([mean, log_std], dim=1), "log_temperature": model.log_ent_coef}
    return {key: value.detach().numpy() for key, value in found.items()}


def sample(model: Any, rng: np.random.Generator) -> ReplayBufferSamples:
    return model.replay_buffer._get_samples(rng.integers(0, model.replay_buffer.size(), 16))


def rows(batch: ReplayBufferSamples) -> np.ndarray:
    """Transitions as sparl's replay has them, but for the discount in the last column."""
    columns = (batch.observations, batch.actions, batch.rewards, batch.next_observations)
    return np.concatenate([c.numpy() for c in (*columns, batch.dones)], axis=1).astype(np.float32)


def after(
    name: str, model: Any, observation: np.ndarray, batches: list[ReplayBufferSamples]
) -> dict[str, np.ndarray]:
    """What the networks give after an update with each of the batches."""
    left = list(batches)
    model.replay_buffer.sample = lambda *_, **__: left.pop(0)
    model.set_logger(Logger(None, []))
    model.train(gradient_steps=len(batches), batch_size=len(batches[0].rewards))
    found = networks(name, model, observation)
    return {f"after_{key}": value for key, value in found.items()}


if __name__ == "__main__":
    main()
