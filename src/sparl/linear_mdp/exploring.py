"""The policies by which `sparl features` explores, and discrete actions for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sparl import envs
from sparl.linear_mdp.transitions import Policy

REPEAT_PROBABILITIES = (0.0, 0.8, 0.95)
"""Each random episode repeats its last action with one of these probabilities. Actions that are
drawn anew at every step shake an environment without getting it anywhere."""
CORNERS = 12
"""How many actions stand for all, where an action has several numbers."""


class FewActions(gym.ActionWrapper):
    """Offers a few of an environment's continuous actions as discrete ones.

    They are the lowest, the middle and the highest action; if actions have several numbers,
    `CORNERS` random combinations of these.
    """

    def __init__(self, env: gym.Env) -> None:
        """Wraps an environment with bounded continuous actions."""
        super().__init__(env)
        self._spaces = envs.spaces_of(env)
        size = self._spaces.action_size
        levels = np.array([-1.0, 0.0, 1.0], np.float32)
        combinations = np.random.default_rng(0).choice(levels, (CORNERS, size))
        self._actions = self._spaces.to_env_action(levels[:, None] if size == 1 else combinations)
        self.choices = len(self._actions)
        self.action_space = spaces.Discrete(self.choices)

    def action(self, action: Any) -> Any:
        """The continuous action with this number."""
        return self._actions[int(action)]


def random_policy(choices: int) -> Policy:
    """Acts at random and often repeats its last action; see `REPEAT_PROBABILITIES`."""

    def begin(rng: np.random.Generator) -> Callable[[NDArray[Any]], int]:
        repeat, last = float(rng.choice(REPEAT_PROBABILITIES)), int(rng.integers(choices))

        def act(observation: NDArray[Any]) -> int:
            nonlocal last
            if rng.random() >= repeat:
                last = int(rng.integers(choices))
            return last

        return act

    return begin


def one_sided_policy(greedy: Callable[[NDArray[Any]], int], choices: int) -> Policy:
    """Acts greedily, but each episode favours one action, and so gets to the edges.

    The probability of the favourite is drawn for each episode from [0, 1). When it was below 0.4,
    the cart's position was missed in two seeds of ten: the cart left its track too rarely, because
    the pole was balanced well.
    """

    def begin(rng: np.random.Generator) -> Callable[[NDArray[Any]], int]:
        favourite, preference = int(rng.integers(choices)), rng.random()
        return lambda observation: favourite if rng.random() < preference else greedy(observation)

    return begin
