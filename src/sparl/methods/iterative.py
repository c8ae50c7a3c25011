"""Iterative magnitude pruning: train, prune, train on (Han et al., 1506.02626).

The papers say: train, prune the smallest weights, and train on, several times. GST (2101.09650)
compares itself with this baseline.

Our reading:
- There are `prunings` rounds of equal length. Each ends with a pruning.
- Every pruning removes the same share of the weights that are still there.
- After the last pruning, training goes on to the end of the run.
- Each round continues with the weights and moments of the round before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparl.methods.magnitude import Magnitude


@dataclass(frozen=True)
class Iterative(Magnitude):
    """Start dense; in a few rounds, prune the same share of the weights that are left."""

    name: ClassVar[str] = "iterative"

    begin: float = 0.0
    """Share of the run's updates before the first round."""
    prunings: int = 5
    """Number of rounds. Each ends with a pruning, and each compiles once."""

    def share(self, pruning: int, sparsity: float) -> float:
        """The share of the weights to remove for `sparsity` that is gone after a pruning."""
        left = (1 - sparsity) ** (pruning / self.prunings)
        return (1 - left) / sparsity if sparsity else 0.0
