"""Sizes and bounds of an environment, and the way between its arrays and those of agents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sparl.errors import BadEnvironment


@dataclass(frozen=True)
class Spaces:
    """Sizes and bounds of an environment, flattened; what a saved policy needs of it.

    `low` and `high` bound continuous actions per dimension and need be neither symmetric nor
    equal. Discrete actions are `choices` numbers from `first` on, and have no shape or bounds.
    """

    observation_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    choices: int = 0
    first: int = 0

    @property
    def discrete(self) -> bool:
        return self.choices > 0

    @property
    def observation_size(self) -> int:
        return math.prod(self.observation_shape)

    @property
    def action_size(self) -> int:
        """Numbers of a continuous action, or choices of a discrete one."""
        return self.choices or len(self.low)

    def flat(self, observation: Any) -> NDArray[np.float32]:
        """One observation as [obs], or a batch of them as [batch, obs]; float32."""
        array = np.asarray(observation, np.float32)
        rank = len(self.observation_shape)
        if array.shape[array.ndim - rank :] != self.observation_shape or array.ndim > rank + 1:
            raise BadEnvironment(
                f"an observation has shape {array.shape}; this agent was made for "
                f"{self.observation_shape}, alone or in a batch"
            )
        return array.reshape(*array.shape[: array.ndim - rank], self.observation_size)

    def random(self, rng: np.random.Generator) -> NDArray[np.float32] | int:
        """An action as agents give it, all being equally likely."""
        if self.discrete:
            return int(rng.integers(self.choices))
        return rng.uniform(-1.0, 1.0, self.action_size).astype(np.float32)

    def scaled(self, action: Any) -> Any:
        """Actions as the environment takes them.

        Continuous ones in [-1, 1], [..., act], in its bounds and shape, float32; discrete ones of
        any shape counted from its first, int64.
        """
        if self.discrete:
            return np.asarray(action, np.int64) + self.first
        low, high = self._bounds
        inside = low + 0.5 * (action + 1.0) * (high - low)
        # At each step of a run: two of these take a third of the time of np.clip.
        inside = np.minimum(np.maximum(inside, low), high).astype(np.float32)
        return inside.reshape(*action.shape[:-1], *self.action_shape)

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)


def spaces_of(env: gym.Env) -> Spaces:
    """What an agent needs to know; raises `BadEnvironment` where no agent of ours could act.

    Wanted: a Box of numbers (no image) as observation, a bounded Box or Discrete as action.
    """
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    return spaces_for(name, env.observation_space, env.action_space)


def spaces_for(name: str, seen: spaces.Space, action: spaces.Space) -> Spaces:
    """`spaces_of` the environment that has these spaces."""
    if not isinstance(seen, spaces.Box):
        raise BadEnvironment(
            f"{name} has {type(seen).__name__} observations; sparl takes Box observations. "
            "gymnasium.wrappers.FlattenObservation turns many others into a Box"
        )
    if seen.dtype == np.uint8 and len(seen.shape) >= 2:
        raise BadEnvironment(
            f"{name} has image observations {seen.shape}; sparl's networks take vectors. Choose "
            "an environment with state observations, or wrap this one to give features"
        )
    if isinstance(action, spaces.Discrete):
        return Spaces(tuple(seen.shape), (), (), (), int(action.n), int(action.start))
    if isinstance(action, spaces.MultiDiscrete | spaces.MultiBinary):
        raise BadEnvironment(
            f"{name} has several discrete actions at once ({action}); sparl's agents give one. "
            "A wrapper can number their combinations as one Discrete"
        )
    if not isinstance(action, spaces.Box):
        raise BadEnvironment(
            f"{name} has {type(action).__name__} actions; sparl takes a bounded Box or Discrete"
        )
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise BadEnvironment(
            f"{name} has actions without finite bounds (low {action.low}, high {action.high}); "
            "give them bounds with gymnasium.wrappers.RescaleAction or ClipAction"
        )
    return Spaces(
        tuple(seen.shape),
        tuple(action.shape),
        tuple(float(v) for v in action.low.reshape(-1)),
        tuple(float(v) for v in action.high.reshape(-1)),
    )
