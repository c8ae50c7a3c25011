"""Proportional prioritisation (Schaul et al., 1511.05952): a sum tree, in NumPy.

A transition is drawn with a probability proportional to (|TD error| + epsilon) ** alpha. The tree
is one array, so a batch walks down it together.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

EPSILON = 1e-6
"""Added to absolute TD errors: a transition that was fitted exactly is still drawn."""


class Priorities:
    """A number of at least 0 for each of `capacity` places; 0 is never drawn."""

    def __init__(self, capacity: int, exponent: float) -> None:
        self.capacity, self.exponent = capacity, exponent
        self._leaves = 1 << (capacity - 1).bit_length()
        # Node i has the children 2 i and 2 i + 1; the root is node 1.
        self._sums = np.zeros(2 * self._leaves)
        self.highest = 1.0
        """What a transition begins with: it is drawn soon, and then has a TD error."""

    @property
    def state(self) -> NDArray[np.float32]:
        """The priorities of all places, and `highest` behind them: [capacity + 1]."""
        values = self._sums[self._leaves : self._leaves + self.capacity]
        return np.append(values, self.highest).astype(np.float32)

    @state.setter
    def state(self, state: NDArray[np.float32]) -> None:
        self.highest = float(state[-1])
        self.set(np.arange(self.capacity), state[:-1])

    def set_errors(self, places: Int[np.ndarray, " k"], errors: Float[np.ndarray, " k"]) -> None:
        """Takes absolute TD errors; of a place that is there twice, the later one counts."""
        # Rounded to what is saved: a run that is resumed goes on with the same numbers.
        values = (errors + np.float32(EPSILON)) ** np.float32(self.exponent)
        self.highest = max(self.highest, float(values.max(initial=0.0)))
        self.set(places, values)

    def set(self, places: Int[np.ndarray, " k"], values: float | NDArray[np.float32]) -> None:
        """Gives places these priorities, which are TD errors to the power of the exponent."""
        nodes = places + self._leaves
        self._sums[nodes] = values
        while len(nodes) and nodes[0] > 1:
            nodes = np.unique(nodes // 2)
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]

    def draw(
        self, uniform: Float[np.ndarray, " k"]
    ) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """A place for each number in [0, 1), and its probability.

        The numbers are spread over k equal strata, so a draw covers the whole range.
        """
        total = self._sums[1]
        left = (np.arange(len(uniform)) + uniform) / len(uniform) * total
        nodes = np.ones(len(uniform), np.int64)
        while nodes[0] < self._leaves:
            nodes = 2 * nodes
            first = self._sums[nodes]
            # Rounding may leave a little more than there is; nothing is drawn that has no priority.
            second = (left >= first) & (self._sums[nodes + 1] > 0)
            left = np.where(second, left - first, left)
            nodes = nodes + second
        return nodes - self._leaves, self._sums[nodes] / total
