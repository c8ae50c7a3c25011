"""Sizes and bounds of an environment, and conversions between its arrays and those of agents.

Agents and the replay see flat float32 observations, continuous actions in [-1, 1], and discrete
actions counted from 0. The environment's own shapes and bounds are applied where it is stepped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.envs.entries import Entry, flatten_all, space_of
from sparl.envs.inverse import agents_actions
from sparl.envs.misfit import refuse_misfit
from sparl.errors import BadEnvironment, BadValue


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
        try:  # of JSON they come as lists
            entries = msgspec.convert(self.entries, tuple[Entry, ...])
        except (msgspec.ValidationError, UnicodeError) as error:
            raise BadValue(f"entries is {validation.shown(self.entries)}: {error}") from error
        object.__setattr__(self, "entries", entries)
        validation.kinds(self)
        refuse_misfit(self)

    @property
    def discrete(self) -> bool:
        """Whether actions are discrete."""
        return self.choices > 0

    @cached_property
    def rounds(self) -> bool:
        """Whether actions are of an integer type, to which continuous ones are rounded."""
        return np.dtype(self.dtype).kind in "iu"

    @property
    def observation_size(self) -> int:
        """Numbers of a flat observation."""
        return math.prod(self.observation_shape)

    @property
    def action_size(self) -> int:
        """Numbers of a continuous action, or choices of a discrete one."""
        return self.choices or len(self.low)

    def differences(self, other: Spaces) -> str:
        """What of these spaces differs from others, in words; empty where nothing does."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        shown = validation.shown
        return ", ".join(f"{name} is {shown(a)}, not {shown(b)}" for name, a, b in pairs if a != b)

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
        kind = None if self.structure is None else self.structure["kind"]
        if isinstance(observation, dict) or (isinstance(observation, tuple) and kind is not None):
            return self._flattened(observation)
        if kind == "Discrete" and np.issubdtype(getattr(observation, "dtype", None), np.integer):
            return self._flattened(observation)  # numbers of choices; what is flat is of floats
        try:
            array = np.asarray(observation, np.float32)
        except (TypeError, ValueError) as error:
            if kind == "Tuple" and isinstance(observation, list):
                return self._flattened(tuple(observation))
            raise BadEnvironment(f"an observation is no array of numbers: {error}") from error
        if array.shape == self.observation_shape:  # one of a run's, at every step
            return array.reshape(-1)
        rank = len(self.observation_shape)
        if array.shape[array.ndim - rank :] != self.observation_shape or array.ndim > rank + 1:
            if kind not in (None, "Dict", "Tuple") and self.frames == 1:
                return self._flattened(observation)
            raise BadEnvironment(
                f"an observation has shape {array.shape}; this agent was made for "
                f"{self.observation_shape}, alone or in a batch"
            )
        return array.reshape(*array.shape[: array.ndim - rank], self.observation_size)

    def flat_one(self, observation: Any) -> NDArray[np.float32]:
        """One flattened observation, [obs].

        Raises:
            BadEnvironment: The shape is not that of the environment's observations.
        """
        flat = self.flat(observation)
        if flat.ndim != 1:
            raise BadEnvironment(
                f"an observation has shape {np.shape(observation)}, and the environment's "
                f"observation_space says {self.observation_shape}"
            )
        return flat

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
        if self.rounds:
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
    def _bounds(self) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
        """`low`, `high` and half their difference in the environment's type; integers' in float64.

        The halves are taken before the difference, which might overflow.
        """
        dtype = np.float64 if self.rounds else np.dtype(self.dtype)
        low, high = np.asarray(self.low, dtype), np.asarray(self.high, dtype)
        half = np.asarray(0.5, dtype)
        return low, high, half * high - half * low

    @cached_property
    def _space(self) -> gym.Space:
        assert self.structure is not None
        return space_of(self.structure)

    def _flattened(self, observation: Any) -> NDArray[np.float32]:
        """Observations as the environment gives them, flattened: one, or a batch of them."""
        if self.structure is None or self.frames > 1:
            raise BadEnvironment(
                "an observation does not have the structure that this agent was made for: it sees "
                f"arrays of shape {self.observation_shape}"
            )
        return flatten_all(self._space, observation)
