"""Environments of envpool (extra `envs`): many in one call, or a single one for evaluation."""

from __future__ import annotations

import difflib
from typing import Any

import gymnasium as gym
import numpy as np

from sparl.errors import BadEnvironment


def has(env_id: str) -> bool:
    """Whether envpool is installed and has this environment."""
    try:
        return env_id in _module(env_id).list_all_envs()
    except BadEnvironment:
        return False


def make(env_id: str, count: int, seed: int, limit: int | None, options: dict[str, Any]) -> Any:
    """Environments that envpool steps together.

    Args:
        count: How many.
        seed: Of all their episodes; envpool takes one only here.
        limit: The largest number of steps of an episode; envpool's own if None.
        options: Further ones of `envpool.make_gymnasium`.

    Raises:
        BadEnvironment: envpool is missing, does not have the environment, or cannot make it.
    """
    envpool = _module(env_id)
    ids = envpool.list_all_envs()
    if env_id not in ids:
        close = difflib.get_close_matches(env_id, ids, n=3, cutoff=0.5)
        raise BadEnvironment(
            f"envpool has no {env_id} (close matches: {', '.join(close) or 'none'}): use "
            "vectorization sync or async"
        )
    options = options if limit is None else options | {"max_episode_steps": limit}
    try:
        return envpool.make_gymnasium(env_id, num_envs=count, seed=seed, **options)
    except Exception as error:
        raise BadEnvironment(
            f"envpool cannot make {env_id} with {options}: {type(error).__name__}: {error}"
        ) from error


class Single(gym.Env):
    """One environment of envpool, as gymnasium's are; each seed takes another of envpool's.

    For environments that gymnasium does not have: their agents are evaluated in these.
    """

    def __init__(self, env_id: str, options: dict[str, Any], limit: int | None) -> None:
        self._arguments = env_id, options, limit
        self._pool = self._made(0)
        self.observation_space = self._pool.observation_space
        self.action_space = self._pool.action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._pool.close()
            self._pool = self._made(seed % 2**31)
        observations, _ = self._pool.reset()
        return _first(observations), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observations, rewards, terminated, truncated, _ = self._pool.step(np.asarray(action)[None])
        return (
            _first(observations),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            {},
        )

    def close(self) -> None:
        self._pool.close()

    def _made(self, seed: int) -> Any:
        env_id, options, limit = self._arguments
        return make(env_id, 1, seed, limit, options)


def _first(observations: Any) -> Any:
    """The observation of the first environment."""
    if isinstance(observations, dict):
        return {name: _first(entries) for name, entries in observations.items()}
    if isinstance(observations, tuple):
        return tuple(map(_first, observations))
    return observations[0]


def _module(env_id: str) -> Any:
    try:
        import envpool  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"{env_id} in envpool needs the package {error.name}, which is not installed: pip "
            'install "sparl[envs]", or use vectorization sync or async'
        ) from error
    return envpool
