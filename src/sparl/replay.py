"""Uniform replay in one flat, preallocated array.

A transition is one row of float32: observation, action, reward, next observation, terminated.
A batch is then one gather and one array into the compiled update, which cuts it into columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sparl.agents.base import Batch


@dataclass(frozen=True)
class Columns:
    """Where the fields of a transition lie in its row."""

    observation_size: int
    action_size: int

    @property
    def width(self) -> int:
        return 2 * self.observation_size + self.action_size + 2

    def split(self, rows: Float[jax.Array, "batch width"]) -> Batch:
        o, a = self.observation_size, self.action_size
        return Batch(
            observation=rows[:, :o],
            action=rows[:, o : o + a],
            reward=rows[:, o + a],
            next_observation=rows[:, o + a + 1 : 2 * o + a + 1],
            terminated=rows[:, -1],
        )


class Replay:
    """The newest `capacity` transitions, in a ring.

    `added` counts all transitions ever added; transition number t lies in row t mod capacity.
    """

    def __init__(self, capacity: int, columns: Columns) -> None:
        # Untouched pages of a large zeroed array cost no memory until they are written.
        self.rows: NDArray[np.float32] = np.zeros((capacity, columns.width), np.float32)
        self.columns = columns
        self.added = 0

    @property
    def capacity(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        return min(self.added, self.capacity)

    def add(
        self,
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        reward: float,
        next_observation: NDArray[np.float32],
        terminated: bool,
    ) -> None:
        """Appends one transition; `action` as the agent gave it, in [-1, 1]."""
        o, a = self.columns.observation_size, self.columns.action_size
        row = self.rows[self.added % self.capacity]
        row[:o] = observation
        row[o : o + a] = action
        row[o + a] = reward
        row[o + a + 1 : -1] = next_observation
        row[-1] = terminated
        self.added += 1

    def sample(self, batch_size: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """`batch_size` rows drawn uniformly, with replacement, [batch, width].

        Always a fresh array: the compiled update may still be reading the one before.
        """
        return self.rows.take(rng.integers(0, self.size, batch_size), axis=0)

    def span(self, first: int, end: int) -> NDArray[np.float32]:
        """Transitions number `first` to `end` (excluded), a copy, [end - first, width]."""
        return self.rows.take(np.arange(first, end), axis=0, mode="wrap")

    def restore(self, first: int, rows: NDArray[np.float32]) -> None:
        """Puts transitions back under their numbers, from `first` on, and counts on from there."""
        self.rows[np.arange(first, first + len(rows)) % self.capacity] = rows
        self.added = first + len(rows)
