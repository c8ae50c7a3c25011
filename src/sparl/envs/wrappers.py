"""Wrappers that add noise entries to an observation, or show only some of its entries.

Both wrappers flatten the observation and record their arguments in the environment's `EnvSpec`. So
any library can make the wrapped environment again, by `EnvSpec.from_json` and `gymnasium.make`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from sparl import validation
from sparl.errors import BadEnvironment, BadValue


class NoiseInputs(gym.ObservationWrapper, RecordConstructorArgs):
    """Appends standard normal numbers to the observation, new ones at every step.

    The seed of `reset` determines them too.
    """

    def __init__(self, env: gym.Env, count: int) -> None:
        """Wraps an environment.

        Args:
            env: The environment.
            count: How many numbers are appended.

        Raises:
            BadValue: `count` is negative.
            BadEnvironment: The observations are not a Box.
        """
        validation.at_least(0, noise_inputs=count)
        RecordConstructorArgs.__init__(self, count=count)
        gym.ObservationWrapper.__init__(self, env)
        box = _box_observations(env)
        dtype = np.result_type(box.dtype or np.float32, np.float32)
        unbounded = np.full(count, np.inf)
        self.observation_space = spaces.Box(
            np.concatenate([box.low.reshape(-1), -unbounded]).astype(dtype),
            np.concatenate([box.high.reshape(-1), unbounded]).astype(dtype),
            dtype=dtype.type,
        )
        self._count, self._dtype = count, dtype
        self._rng = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        """Resets the environment; a seed also restarts the noise."""
        if seed is not None:
            # The environment draws from the same seed; the noise must be other numbers.
            self._rng = np.random.default_rng([seed, 1])
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Any) -> NDArray[Any]:
        """The flat observation with noise behind it."""
        noise = self._rng.standard_normal(self._count)
        return np.concatenate([np.asarray(observation).reshape(-1), noise]).astype(self._dtype)


class SelectInputs(gym.ObservationWrapper, RecordConstructorArgs):
    """Shows only some entries of the observation."""

    def __init__(self, env: gym.Env, inputs: Sequence[int]) -> None:
        """Wraps an environment.

        Args:
            env: The environment.
            inputs: The entries of the flat observation that are shown, counted from 0, in this
                order.

        Raises:
            BadValue: `inputs` is empty, names an entry twice, or names one that does not exist.
            BadEnvironment: The observations are not a Box.
        """
        box = _box_observations(env)
        _check_inputs(inputs, int(np.prod(box.shape)), env)
        RecordConstructorArgs.__init__(self, inputs=[int(i) for i in inputs])
        gym.ObservationWrapper.__init__(self, env)
        self.inputs = np.asarray(inputs, np.intp)
        """The entries that are shown."""
        self.observation_space = spaces.Box(
            box.low.reshape(-1)[self.inputs],
            box.high.reshape(-1)[self.inputs],
            dtype=box.dtype.type if box.dtype is not None else np.float32,
        )

    def observation(self, observation: Any) -> NDArray[Any]:
        """The chosen entries of the observation."""
        return np.asarray(observation).reshape(-1)[self.inputs]


def wrapped(env: gym.Env, noise_inputs: int = 0, inputs: Sequence[int] = ()) -> gym.Env:
    """The environment in the wrappers that its arguments ask for.

    Args:
        env: The environment.
        noise_inputs: How many noise entries are appended; none without.
        inputs: The entries, noise included, that are shown; all without.

    Returns:
        The wrapped environment, or `env` itself if nothing was asked for.

    Raises:
        BadValue, BadEnvironment: As for `NoiseInputs` and `SelectInputs`.
    """
    env = NoiseInputs(env, noise_inputs) if noise_inputs else env
    return SelectInputs(env, inputs) if len(inputs) else env


def _box_observations(env: gym.Env) -> spaces.Box:
    """The observation space, which must be a Box."""
    if isinstance(env.observation_space, spaces.Box):
        return env.observation_space
    raise BadEnvironment(
        f"{_name(env)} has {type(env.observation_space).__name__} observations; inputs are chosen "
        "of Box observations. gymnasium.wrappers.FlattenObservation turns others into a Box"
    )


def _check_inputs(inputs: Sequence[int], size: int, env: gym.Env) -> None:
    """Raises `BadValue` for inputs that `SelectInputs` cannot show."""
    choices = f"{_name(env)} has the inputs 0 to {size - 1}"
    if not len(inputs):
        raise BadValue(f"inputs is empty: name at least one; {choices}")
    for i in inputs:
        if not 0 <= i < size:
            raise BadValue(f"inputs has {i}: {choices}")
    repeated = sorted({i for i in inputs if list(inputs).count(i) > 1})
    if repeated:
        raise BadValue(f"inputs has {repeated[0]} more than once: name each once; {choices}")


def _name(env: gym.Env) -> str:
    """What messages call an environment."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__
