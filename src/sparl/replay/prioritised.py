"""Proportional prioritisation (Schaul et al., 1511.05952): a sum tree, in NumPy.

A transition is drawn with a probability proportional to (|TD error| + epsilon) ** alpha. The tree
is one array, so all draws of a batch walk down it together.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

EPSILON = 1e-6
"""Added to absolute TD errors, so that a transition without error is still drawn."""


class Priorities:
    """A priority of at least 0 for each of `capacity` places; a place with 0 is never drawn."""

    def __init__(self, capacity: int, exponent: float) -> None:
        """
        Args:
            exponent: The power of a TD error that is its priority: alpha in the paper.
        """
        self.capacity, self.exponent = capacity, exponent
        self._leaves = 1 << (capacity - 1).bit_length()
        # Node i has the children 2 i and 2 i + 1; the root is node 1.
        self._sums = np.zeros(2 * self._leaves)
        self.highest = 1.0
        """The priority of new transitions, so that they are drawn soon and get a TD error."""

    @property
    def state(self) -> NDArray[np.float32]:
        """The priorities of all places, and `highest` as the last entry: [capacity + 1]."""
        values = self._sums[self._leaves : self._leaves + self.capacity]
        return np.append(values, self.highest).astype(np.float32)

    @state.setter
    def state(self, state: NDArray[np.float32]) -> None:
        self.highest = float(state[-1])
        self.set(np.arange(self.capacity), state[:-1])

    def set_errors(self, places: Int[np.ndarray, " k"], errors: Float[np.ndarray, " k"]) -> None:
        """Sets priorities by absolute TD errors; if a place comes twice, its last error counts."""
        # Rounded to float32, as checkpoints store it: a resumed run has the same numbers.
        values = (errors + np.float32(EPSILON)) ** np.float32(self.exponent)
        self.highest = max(self.highest, float(values.max(initial=0.0)))
        self.set(places, values)

    def set(self, places: Int[np.ndarray, " k"], values: float | NDArray[np.float32]) -> None:
        """Sets priorities, which are TD errors to the power of the exponent."""
        nodes = places + self._leaves
        self._sums[nodes] = values
        while len(nodes) and nodes[0] > 1:
            nodes = np.unique(nodes // 2)
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]

    def draw(
        self, uniform: Float[np.ndarray, " k"]
    ) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Draws k places.

        The range of priorities is divided into k equal strata, with one draw in each.

        Args:
            uniform: Random numbers in [0, 1).

        Returns:
            The places and their probabilities.
        """
        total = self._sums[1]
        offset = (np.arange(len(uniform)) + uniform) / len(uniform) * total
        nodes = np.ones(len(uniform), np.int64)
        while nodes[0] < self._leaves:
            nodes = 2 * nodes
            left_sum = self._sums[nodes]
            # By rounding, an offset may lie beyond the sum; a place of priority 0 is never drawn.
            goes_right = (offset >= left_sum) & (self._sums[nodes + 1] > 0)
            offset = np.where(goes_right, offset - left_sum, offset)
            nodes = nodes + goes_right
        return nodes - self._leaves, self._sums[nodes] / total
