"""A rollout: the newest transitions of all environments, and their advantages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rollout:
    """Transitions in the order in which they came; those of several environments are mixed."""

    reward: Float[np.ndarray, " n"]
    terminated: Float[np.ndarray, " n"]
    """1 where the environment itself ended the episode; a time limit does not count."""
    following: Int[np.ndarray, " n"]
    """The index of the episode's next transition in the rollout, or -1 if it has none there."""
    evaluated: dict[str, NDArray[np.float32]]
    """What the acting policy and its critic computed for each transition: arrays [n] by name, such
    as `log_prob`, `value` and `next_value`."""

    def advantages(self, gamma: float, decay: float) -> Float[np.ndarray, " n"]:
        """Generalised advantage estimates (Schulman et al., 1506.02438, eq. 16).

        Where an episode was truncated or goes on after the rollout, the critic's value of the next
        observation stands for the rest. Where it terminated, the rest is 0.

        Args:
            gamma: Discount of future rewards.
            decay: lambda in the paper.

        Returns:
            [n].
        """
        value, next_value = self.evaluated["value"], self.evaluated["next_value"]
        errors = self.reward + gamma * (1.0 - self.terminated) * next_value - value
        advantages = errors.astype(np.float64)
        for i in range(len(errors) - 1, -1, -1):
            if self.following[i] >= 0:
                advantages[i] += gamma * decay * advantages[self.following[i]]
        return advantages.astype(np.float32)
