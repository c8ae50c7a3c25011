"""What an environment gives, as sparl's own: no array is shared, rewards are numbers."""

from __future__ import annotations

from array import array
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from sparl.errors import BadEnvironment


class Arrival(gym.Wrapper, RecordConstructorArgs):
    """Copies every observation, and makes a reward of any scalar form a float.

    Many environments give the same array at every step, with other numbers in it. Whatever keeps an
    observation, as a replay or a stack of frames does, would find the newest one in its place.
    """

    def __init__(self, env: gym.Env) -> None:
        RecordConstructorArgs.__init__(self)  # so that a spec can tell of it
        gym.Wrapper.__init__(self, env)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        given = self.env.reset(seed=seed, options=options)
        if given is None:
            raise BadEnvironment("reset returned None: it must return (observation, info)")
        if not (isinstance(given, tuple) and len(given) == 2):
            raise BadEnvironment(
                f"reset gave {type(given).__name__}, as environments of the old gym do: it must "
                "return (observation, info). The package shimmy wraps old ones"
            )
        return copied(given[0], self.env.observation_space), given[1]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        try:
            given = self.env.step(action)
        except (TypeError, ValueError) as error:  # of a time limit, which unpacks it before
            found = [what for words, what in UNPACKED.items() if words in str(error)]
            if not found:
                raise
            raise BadEnvironment(WRONG_STEP.format(found[0])) from error
        if not isinstance(given, tuple | list):
            raise BadEnvironment(WRONG_STEP.format(repr(given)))
        if len(given) != 5:
            raise BadEnvironment(WRONG_STEP.format(f"{len(given)} values"))
        observation, reward, terminated, truncated, info = given
        observation = copied(observation, self.env.observation_space)
        return observation, scalar(reward), bool(terminated), bool(truncated), info


WRONG_STEP = (
    "step gave {}: it must return (observation, reward, terminated, truncated, info). The package "
    "shimmy wraps environments of the old gym, which give 4"
)
UNPACKED = {"expected 5, got 4": "4 values", "cannot unpack non-iterable NoneType": "None"}
"""What Python says where a step's result cannot be unpacked, and what it was."""


def copied(observation: Any, space: gym.Space | None = None) -> Any:
    """An observation without arrays of its environment; Dict and Tuple ones entry by entry.

    Args:
        space: What it is of: a list is a tuple where that is one, and a tuple is an array where
            that is a Box.
    """
    if isinstance(observation, np.ndarray):
        return observation.copy()
    if isinstance(observation, dict):
        inner = space.spaces if isinstance(space, spaces.Dict) else {}
        return {name: copied(entry, inner.get(name)) for name, entry in observation.items()}
    several = tuple | list if isinstance(space, spaces.Tuple) else tuple
    if isinstance(observation, several) and not isinstance(space, spaces.Box):
        of = dict(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else {}
        return tuple(copied(entry, of.get(i)) for i, entry in enumerate(observation))
    # Tensors and arrays of other libraries are changed in place, too.
    lists = isinstance(observation, list | tuple | array | memoryview)
    arrays = lists or hasattr(observation, "__array__")
    return np.asarray(observation).copy() if arrays else observation


def scalar(reward: Any) -> float:
    """A reward as a float.

    Args:
        reward: A number, or an array of one.

    Raises:
        BadEnvironment: It is a vector, or no number.
    """
    if isinstance(reward, float | int):
        return float(reward)
    if reward is None:  # NumPy makes NaN of it
        raise _no_number(reward)
    try:
        given = np.asarray(reward, np.float64)
    except (TypeError, ValueError) as error:
        raise _no_number(reward) from error
    if given.size != 1:
        raise BadEnvironment(
            f"the reward has shape {given.shape}: agents learn from one number a step. Wrap the "
            "environment, to give a weighted sum for example"
        )
    return float(given.reshape(()))


def _no_number(reward: Any) -> BadEnvironment:
    return BadEnvironment(f"the reward {reward!r} is no number: give a float")
