"""Which entries of an observation an agent sees, and entries of noise among which to find them.

Both wrappers flatten the observation and record their arguments, so that the `EnvSpec` of a
wrapped environment says all: `EnvSpec.from_json` and `gymnasium.make` make it again, in any
library.
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
    """Puts `count` standard normal numbers behind the entries of the observation, new ones at
    every step. The seed of `reset` decides them, too."""

    def __init__(self, env: gym.Env, count: int) -> None:
        """Raises `BadValue` for a negative count, `BadEnvironment` for observations that are no
        Box."""
        validation.at_least(0, noise_inputs=count)
        RecordConstructorArgs.__init__(self, count=count)
        gym.ObservationWrapper.__init__(self, env)
        seen = _box(env)
        kind = np.result_type(seen.dtype or np.float32, np.float32)
        endless = np.full(count, np.inf)
        self.observation_space = spaces.Box(
            np.concatenate([seen.low.reshape(-1), -endless]).astype(kind),
            np.concatenate([seen.high.reshape(-1), endless]).astype(kind),
            dtype=kind.type,
        )
        self._count, self._kind = count, kind
        self._rng = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        if seed is not None:
            # Not the numbers that the environment itself draws with this seed.
            self._rng = np.random.default_rng([seed, 1])
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Any) -> NDArray[Any]:
        noise = self._rng.standard_normal(self._count)
        return np.concatenate([np.asarray(observation).reshape(-1), noise]).astype(self._kind)


class SelectInputs(gym.ObservationWrapper, RecordConstructorArgs):
    """Shows only the entries `inputs` of the observation, counted from 0, in the order given."""

    def __init__(self, env: gym.Env, inputs: Sequence[int]) -> None:
        """Raises `BadValue` for entries that there are not, or that are named twice, or none;
        `BadEnvironment` for observations that are no Box."""
        seen = _box(env)
        _refuse(inputs, int(np.prod(seen.shape)), env)
        RecordConstructorArgs.__init__(self, inputs=[int(i) for i in inputs])
        gym.ObservationWrapper.__init__(self, env)
        self._inputs = np.asarray(inputs, np.intp)
        self.observation_space = spaces.Box(
            seen.low.reshape(-1)[self._inputs],
            seen.high.reshape(-1)[self._inputs],
            dtype=seen.dtype.type if seen.dtype is not None else np.float32,
        )

    def observation(self, observation: Any) -> NDArray[Any]:
        return np.asarray(observation).reshape(-1)[self._inputs]


def wrapped(env: gym.Env, noise_inputs: int = 0, inputs: Sequence[int] = ()) -> gym.Env:
    """The environment with that many entries of noise, of which, if any are named, only those are
    seen; without either, the environment itself."""
    env = NoiseInputs(env, noise_inputs) if noise_inputs else env
    return SelectInputs(env, inputs) if len(inputs) else env


def _box(env: gym.Env) -> spaces.Box:
    if isinstance(env.observation_space, spaces.Box):
        return env.observation_space
    raise BadEnvironment(
        f"{_name(env)} has {type(env.observation_space).__name__} observations; inputs are chosen "
        "of Box observations. gymnasium.wrappers.FlattenObservation turns many others into a Box"
    )


def _refuse(inputs: Sequence[int], size: int, env: gym.Env) -> None:
    there_are = f"{_name(env)} has the inputs 0 to {size - 1}"
    if not len(inputs):
        raise BadValue(f"inputs is empty: name at least one; {there_are}")
    for i in inputs:
        if not 0 <= i < size:
            raise BadValue(f"inputs has {i}: {there_are}")
    twice = sorted({i for i in inputs if list(inputs).count(i) > 1})
    if twice:
        raise BadValue(f"inputs has {twice[0]} more than once: name each once; {there_are}")


def _name(env: gym.Env) -> str:
    return env.spec.id if env.spec else type(env.unwrapped).__name__
