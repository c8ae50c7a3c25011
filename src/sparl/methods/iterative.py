"""Iterative magnitude pruning: train, prune, train on (Han et al., 1506.02626).

The baseline that GST (2101.09650) is measured against. Our reading: `prunings` rounds of equal
length, in each of which the same share of the weights still there goes; then training goes on to
the end. A round goes on from the weights and moments of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sparl.methods.magnitude import Magnitude


@dataclass(frozen=True)
class Iterative(Magnitude):
    """Start dense; in a few rounds, prune the same share of what is left."""

    name: ClassVar[str] = "iterative"

    begin: float = 0.0
    """Share of the run's updates before the first round."""
    prunings: int = 5
    """Rounds, each ending with a pruning; each compiles once."""

    def share(self, pruning: int, sparsity: float) -> float:
        left = (1 - sparsity) ** (pruning / self.prunings)
        return (1 - left) / sparsity if sparsity else 0.0
