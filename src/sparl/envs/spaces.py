"""Sizes and bounds of an environment, and conversions between its arrays and those of agents.

Agents and the replay see flat float32 observations, continuous actions in [-1, 1], and discrete
actions counted from 0. The environment's own shapes and bounds are applied where it is stepped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Sizes and bounds of an environment: all that a saved policy needs to know of it."""

    observation_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    """Of continuous actions; () for discrete ones."""
    low: tuple[float, ...]
    """Lower bound of each number of a continuous action, flattened; () for discrete actions."""
    high: tuple[float, ...]
    """Upper bounds; bounds need be neither symmetric nor equal."""
    choices: int = 0
    """Number of discrete actions; 0 for continuous ones."""
    first: int = 0
    """The environment's number for the first discrete action."""

    @property
    def discrete(self) -> bool:
        """Whether actions are discrete."""
        return self.choices > 0

    @property
    def observation_size(self) -> int:
        """Numbers of a flat observation."""
        return math.prod(self.observation_shape)

    @property
    def action_size(self) -> int:
        """Numbers of a continuous action, or choices of a discrete one."""
        return self.choices or len(self.low)

    def flat(self, observation: Any) -> NDArray[np.float32]:
        """Flattened observations.

        Args:
            observation: One observation, or a batch of them.

        Returns:
            float32 [obs], or [batch, obs].

        Raises:
            BadEnvironment: The shape is not that of the environment's observations.
        """
        array = np.asarray(observation, np.float32)
        rank = len(self.observation_shape)
        if array.shape[array.ndim - rank :] != self.observation_shape or array.ndim > rank + 1:
            raise BadEnvironment(
                f"an observation has shape {array.shape}; this agent was made for "
                f"{self.observation_shape}, alone or in a batch"
            )
        return array.reshape(*array.shape[: array.ndim - rank], self.observation_size)

    def random(self, rng: np.random.Generator) -> NDArray[np.float32] | int:
        """A uniformly random action, in the form in which agents give actions."""
        if self.discrete:
            return int(rng.integers(self.choices))
        return rng.uniform(-1.0, 1.0, self.action_size).astype(np.float32)

    def to_env_action(self, action: Any) -> Any:
        """Agents' actions as the environment takes them.

        Args:
            action: Continuous actions in [-1, 1], [..., act]; values beyond are clipped. Or
                discrete actions counted from 0, of any shape.

        Returns:
            Continuous actions within the environment's bounds, float32 in its shape. Or discrete
            actions counted from the environment's first, int64.
        """
        if self.discrete:
            return np.asarray(action, np.int64) + self.first
        low, high = self._bounds
        unclipped = low + 0.5 * (action + 1.0) * (high - low)
        # Called at every step of a run: these two take a third of the time of np.clip.
        clipped = np.minimum(np.maximum(unclipped, low), high).astype(np.float32)
        return clipped.reshape(*action.shape[:-1], *self.action_shape)

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`low` and `high` as arrays."""
        return np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)


def inner_float32(
    low: Sequence[float], high: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bounds as float32 that lie within the given ones.

    float32(-0.1) is below -0.1, and an environment with bounds in float64 refuses it. So lower
    bounds are rounded up and upper bounds down. Where no float32 lies between the two, both are the
    one nearest to the lower bound.

    Args:
        low: Lower bounds, finite.
        high: Upper bounds, none below its lower one.

    Returns:
        The largest interval in float32 within each of the given ones.
    """
    wide_low, wide_high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    infinity = np.float32(np.inf)
    with np.errstate(over="ignore"):  # beyond float32 they become infinite, and are moved back
        nearest, inner_high = wide_low.astype(np.float32), wide_high.astype(np.float32)
        inner_low = np.where(nearest < wide_low, np.nextafter(nearest, infinity), nearest)
        lower = np.nextafter(inner_high, -infinity)
        inner_high = np.where(inner_high > wide_high, lower, inner_high)
    empty = inner_low > inner_high
    return np.where(empty, nearest, inner_low), np.where(empty, nearest, inner_high)


def spaces_of(env: gym.Env) -> Spaces:
    """The sizes and bounds of an environment.

    Raises:
        BadEnvironment: No agent can act in it. Observations must be a Box of numbers and no image;
            actions must be a bounded Box or Discrete. The message names a wrapper where one helps.
    """
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    return spaces_for(name, env.observation_space, env.action_space)


def spaces_for(name: str, observation: spaces.Space, action: spaces.Space) -> Spaces:
    """The sizes and bounds of an environment, from its spaces.

    Args:
        name: What messages call the environment.
        observation: Its observation space.
        action: Its action space.

    Raises:
        BadEnvironment: As for `spaces_of`.
    """
    if not isinstance(observation, spaces.Box):
        raise BadEnvironment(
            f"{name} has {type(observation).__name__} observations; sparl takes Box observations. "
            "gymnasium.wrappers.FlattenObservation turns many others into a Box"
        )
    observation_shape = tuple(observation.shape)
    if observation.dtype == np.uint8 and len(observation_shape) >= 2:
        raise BadEnvironment(
            f"{name} has image observations {observation_shape}; sparl's networks take vectors. "
            "Choose an environment with state observations, or wrap this one to give features"
        )
    if isinstance(action, spaces.Discrete):
        return Spaces(observation_shape, (), (), (), int(action.n), int(action.start))
    if isinstance(action, spaces.MultiDiscrete | spaces.MultiBinary):
        raise BadEnvironment(
            f"{name} has several discrete actions at once ({action}); sparl's agents give one. "
            "A wrapper can number all combinations as one Discrete space"
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
        observation_shape,
        tuple(action.shape),
        tuple(float(v) for v in action.low.reshape(-1)),
        tuple(float(v) for v in action.high.reshape(-1)),
    )
