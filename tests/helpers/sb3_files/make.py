"""Makes the files beside it: small agents as Stable-Baselines3 saves them, and what they compute.

    python tests/helpers/sb3_files/make.py        # needs stable-baselines3

NAME.zip is what `model.save` writes, less pickles, docstrings and what it tells of the machine:
sparl reads none of these. NAME.npz has observations with the actions that `predict` gives to them,
what every network makes of the first of them, and what it makes of them after two updates more, on
transitions that are there, too.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples

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


def main() -> None:
    torch.set_num_threads(1)
    for name, make in AGENTS.items():
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


def leave_out_what_is_not_read(path: Path) -> None:
    """Pickles become empty strings, docstrings go, and so does what tells of this machine."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    del content["system_info.txt"]
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
