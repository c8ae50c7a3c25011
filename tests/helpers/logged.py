"""Logs of tiny environments, as a user's own code writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

Arrays = dict[str, np.ndarray]


def play(env: str, count: int, seed: int = 0) -> Arrays:
    """So many transitions of random actions, with D4RL's names."""
    made, rng = gym.make(env), np.random.default_rng(seed)
    made.action_space.seed(seed)
    rows: dict[str, list[Any]] = {name: [] for name in ("o", "a", "r", "n", "terminal", "timeout")}
    observation, _ = made.reset(seed=int(rng.integers(2**31)))
    for _ in range(count):
        action = made.action_space.sample()
        following, reward, terminated, truncated, _ = made.step(action)
        for name, value in zip(
            rows, (observation, action, reward, following, terminated, truncated), strict=True
        ):
            rows[name].append(value)
        observation = following
        if terminated or truncated:
            observation, _ = made.reset(seed=int(rng.integers(2**31)))
    return dict(
        zip(
            ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts"),
            map(np.array, rows.values()),
            strict=True,
        )
    )


def log(path: Path, env: str, count: int, seed: int = 0) -> Path:
    """The same in a file."""
    np.savez(path, **play(env, count, seed))  # pyright: ignore[reportArgumentType]
    return path
