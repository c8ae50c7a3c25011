"""Sizes and bounds of an environment, and conversions between its arrays and those of agents.

Agents and the replay see flat float32 observations, continuous actions in [-1, 1], and discrete
actions counted from 0. The environment's own shapes and bounds are applied where it is stepped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from sparl import validation
from sparl.envs.entries import Entry, entries_of, flatten, space_of, structure_of
from sparl.envs.inverse import agents_actions
from sparl.envs.misfit import refuse_misfit
from sparl.errors import BadEnvironment

MOST_CHOICES = 4096
"""Combinations of several discrete actions that are numbered at most."""
IMAGE = 1024
"""Bytes from which on an observation with two or more axes is taken for an image."""


@dataclass(frozen=True)
class Spaces:
    """Sizes and bounds of an environment: all that a saved policy needs to know of it."""

    observation_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    """Of continuous actions, and of several discrete ones at once; () for a single discrete one."""
    low: tuple[float, ...]
    """Lower bound of each number of a continuous action, flattened; () for discrete actions."""
    high: tuple[float, ...]
    """Upper bounds; bounds need be neither symmetric nor equal."""
    choices: int = 0
    """Number of discrete actions; 0 for continuous ones."""
    first: int = 0
    """The environment's number for the first discrete action."""
    dtype: str = "float32"
    """The type in which the environment takes actions; continuous ones of an integer type are
    rounded."""
    nvec: tuple[int, ...] = ()
    """Choices of each number, where an action is several discrete ones at once (MultiDiscrete,
    MultiBinary). The choices number all combinations; the last number changes fastest."""
    starts: tuple[int, ...] = ()
    """The environment's number for the first choice of each of them."""
    entries: tuple[Entry, ...] = ()
    """The names of the parts of a flat observation in order; () where they have none."""
    structure: dict[str, Any] | None = None
    """How the environment gives observations that are flattened; None where they are a Box."""
    frames: int = 1
    """Observations of the environment, the newest last, that are one of the agent."""

    def __post_init__(self) -> None:
        # Of JSON they come as lists.
        object.__setattr__(self, "entries", tuple(Entry(*entry) for entry in self.entries))
        validation.kinds(self)
        refuse_misfit(self)

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
            observation: One observation, or a batch of them. One whose entries are flattened may
                also be as the environment gives it.

        Returns:
            float32 [obs], or [batch, obs].

        Raises:
            BadEnvironment: The shape is not that of the environment's observations.
        """
        if isinstance(observation, dict | tuple):
            return self._flattened(observation)
        array = np.asarray(observation, np.float32)
        rank = len(self.observation_shape)
        if array.shape[array.ndim - rank :] != self.observation_shape or array.ndim > rank + 1:
            if self.structure is not None and self.frames == 1:  # a number of a Discrete space
                return self._flattened(observation)
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
            New arrays, which the environment may keep. Continuous actions within the environment's
            bounds, in its type and shape. Or discrete actions counted from the environment's
            first, int64; several at once in its shape.
        """
        if self.nvec:
            numbers = np.unravel_index(np.asarray(action, np.int64), self.nvec)
            several = np.stack(numbers, axis=-1) + np.asarray(self.starts, np.int64)
            return several.reshape((*np.shape(action), *self.action_shape)).astype(self.dtype)
        if self.discrete:
            return np.asarray(action, np.int64) + self.first
        low, high, half = self._bounds
        unclipped = low + (action + 1.0) * half
        # Called at every step of a run: these two take a third of the time of np.clip.
        clipped = np.minimum(np.maximum(unclipped, low), high)
        if self._rounds:
            clipped = np.rint(clipped)
        return clipped.astype(self.dtype).reshape((*action.shape[:-1], *self.action_shape))

    def to_env_actions(self, actions: NDArray[Any]) -> list[Any]:
        """The actions of a batch as environments take them one by one."""
        batch = self.to_env_action(actions)
        return list(batch) if self.discrete else [np.asarray(action) for action in batch]

    def from_env_action(self, actions: Any) -> NDArray[Any]:
        """Actions as the environment takes them as agents give them: undoes `to_env_action`.

        Args:
            actions: [batch, ...] in the environment's shape, or its numbers in a row.

        Returns:
            float32 [batch, act] in [-1, 1], or discrete actions counted from 0, int64 [batch].

        Raises:
            BadValue: Actions out of bounds, or no choices; it says how many, and the first.
        """
        return agents_actions(self, actions)

    @cached_property
    def _rounds(self) -> bool:
        return np.dtype(self.dtype).kind in "iu"

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
        """`low`, `high` and half their difference in the environment's type; integers' in float64.

        The halves are taken before the difference, which might overflow.
        """
        dtype = np.float64 if self._rounds else np.dtype(self.dtype)
        low, high = np.asarray(self.low, dtype), np.asarray(self.high, dtype)
        half = np.asarray(0.5, dtype)
        return low, high, half * high - half * low

    @cached_property
    def _space(self) -> gym.Space:
        assert self.structure is not None
        return space_of(self.structure)

    def _flattened(self, observation: Any) -> NDArray[np.float32]:
        """One observation as the environment gives it, flattened."""
        try:
            if self.structure is None or self.frames > 1:
                raise TypeError(f"the agent sees arrays of shape {self.observation_shape}")
            return flatten(self._space, observation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadEnvironment(
                f"an observation does not have the structure that this agent was made for: "
                f"{type(error).__name__}: {error}"
            ) from error


def spaces_of(env: gym.Env, round_actions: bool = False) -> Spaces:
    """The sizes and bounds of an environment.

    Args:
        env: The environment; one that flattens its observations tells their entries, too.
        round_actions: Whether actions are rounded if they are integers between bounds.

    Raises:
        BadEnvironment: No agent can act in it. Observations must be a Box of numbers and no image;
            actions must be a bounded Box or discrete. The message names a way out.
    """
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    found = spaces_for(name, env.observation_space, env.action_space, round_actions)
    frames = found.observation_shape[0] if isinstance(env, FrameStackObservation) else 1
    return replace(found, entries=entries_of(env), structure=structure_of(env), frames=frames)


def spaces_for(
    name: str, observation: spaces.Space, action: spaces.Space, round_actions: bool = False
) -> Spaces:
    """The sizes and bounds of an environment, from its spaces.

    Args:
        name: What messages call the environment.
        observation: Its observation space.
        action: Its action space.
        round_actions: As for `spaces_of`.

    Raises:
        BadEnvironment: As for `spaces_of`.
    """
    if not isinstance(observation, spaces.Box):
        raise BadEnvironment(
            f"{name} has {type(observation).__name__} observations; sparl takes Box observations. "
            "gymnasium.wrappers.FlattenObservation turns others into a Box"
        )
    shape = tuple(int(size) for size in observation.shape)
    if 0 in shape:
        raise BadEnvironment(f"{name} has empty observations, of shape {shape}: give numbers")
    if _is_image(observation):
        raise BadEnvironment(
            f"{name} has image observations {shape}; sparl's networks take vectors. "
            "Choose an environment with state observations, or wrap this one to give features"
        )
    if isinstance(action, spaces.Discrete):
        return Spaces(shape, (), (), (), int(action.n), int(action.start))
    if isinstance(action, spaces.MultiDiscrete | spaces.MultiBinary):
        return _several_discrete(name, shape, action)
    if not isinstance(action, spaces.Box):
        raise BadEnvironment(
            f"{name} has {type(action).__name__} actions; sparl takes a bounded Box, Discrete, "
            "MultiDiscrete or MultiBinary. Wrap the environment to take one of these"
        )
    return _continuous(name, shape, action, round_actions)


def _continuous(
    name: str, observation_shape: tuple[int, ...], action: spaces.Box, round_actions: bool
) -> Spaces:
    low, high = (tuple(float(v) for v in bound.reshape(-1)) for bound in (action.low, action.high))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise BadEnvironment(
            f"{name} has actions without finite bounds (low {action.low}, high {action.high}); "
            "give them bounds with gymnasium.wrappers.RescaleAction or ClipAction"
        )
    if not low:
        raise BadEnvironment(f"{name} has empty actions, of shape {action.shape}: give numbers")
    dtype = np.dtype(action.dtype or np.float32)
    if dtype.kind not in "fiu":
        raise BadEnvironment(f"{name} has actions of type {dtype}: give floats")
    if dtype.kind in "iu" and not round_actions:
        raise BadEnvironment(
            f"{name} has actions that are integers between bounds ({action}). For a discrete agent "
            "declare them as Discrete or MultiDiscrete. For a continuous one set round_actions, "
            "which rounds its actions"
        )
    shape = tuple(int(size) for size in action.shape)
    return Spaces(observation_shape, shape, low, high, dtype=dtype.name)


def _several_discrete(
    name: str, observation_shape: tuple[int, ...], action: spaces.MultiDiscrete | spaces.MultiBinary
) -> Spaces:
    """Several discrete actions at once, whose combinations are numbered."""
    shape = tuple(int(size) for size in action.shape)
    binary = isinstance(action, spaces.MultiBinary)
    nvec = (2,) * math.prod(shape) if binary else tuple(action.nvec.reshape(-1).tolist())
    starts = (0,) * len(nvec) if binary else tuple(action.start.reshape(-1).tolist())
    choices = math.prod(nvec)
    if choices > MOST_CHOICES:
        raise BadEnvironment(
            f"{name} has actions with {choices} combinations ({action}); sparl numbers at most "
            f"{MOST_CHOICES}. Wrap the environment to offer fewer, or to take a Box of numbers"
        )
    dtype = np.dtype(action.dtype or np.int64).name
    return Spaces(
        *(observation_shape, shape, (), (), choices), dtype=dtype, nvec=nvec, starts=starts
    )


def _is_image(observation: spaces.Box) -> bool:
    """Whether observations are pixels: a board or a small grid of bytes is a vector like any."""
    return bool(
        observation.dtype == np.uint8
        and len(observation.shape) >= 2
        and math.prod(observation.shape) >= IMAGE
        and (observation.high == 255).all()
    )
