"""The share of an episode that is left, behind the observation, as agents of the RL Zoo saw it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class TimeFeature(gym.Wrapper):
    """Puts 1 - step / limit behind an observation of numbers."""

    def __init__(self, env: gym.Env, limit: int = 1000) -> None:
        super().__init__(env)
        seen, self._limit, self._step = env.observation_space, limit, 0
        assert isinstance(seen, spaces.Box)
        ends = ((seen.low, 0.0), (seen.high, 1.0))
        self.observation_space = spaces.Box(*(np.append(a, b).astype(np.float32) for a, b in ends))

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**options)
        self._step = 0
        return self._with_time(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, *others = self.env.step(action)
        self._step += 1
        return self._with_time(observation), *others  # pyright: ignore[reportReturnType]

    def _with_time(self, observation: Any) -> Any:
        return np.append(observation, 1.0 - self._step / self._limit).astype(np.float32)
