"""The environment of `soak.py`: a point that is pushed about, and that fails when it is told to.

`SOAK_FAULT` is `raise:N` or `nan:N`: in the N-th step of a process the environment raises an
exception, or gives a reward that is not a number. A run that is resumed without it meets no fault.
"""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Soaked(gym.Env):
    """Ends by itself after 5 to 40 steps, as it draws when it is reset."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space = spaces.Box(np.float32([-1.0]), np.float32([3.0]))
    steps = 0
    """Of all of these environments in this process."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.x, self.v = self.np_random.uniform(-1, 1, 2)
        self.t, self.end = 0, self.np_random.integers(5, 41)
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Soaked.steps += 1
        fault, _, number = os.environ.get("SOAK_FAULT", "").partition(":")
        reward = -abs(self.x)
        if fault and Soaked.steps == int(number):
            if fault == "raise":
                raise RuntimeError("a gear [/red] came off")
            reward = float("nan")
        self.t += 1
        self.v = 0.9 * self.v + 0.1 * float(np.asarray(action).reshape(-1)[0])
        self.x += 0.1 * self.v
        return self._observation(), reward, bool(self.t >= self.end), False, {}

    def _observation(self) -> Any:
        return np.array([self.x, self.v, self.t / 40])


gym.register("Soaked-v0", Soaked, max_episode_steps=40, disable_env_checker=True)
