"""The best policy of a run: that of its best evaluation since its networks have their size.

A run that makes its networks smaller has its highest returns, as a rule, while they are still
large. That policy is not what the run is for. So whenever the policy keeps another number of
weights than before, the search for the best one begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparl.policy import Policy


@dataclass(frozen=True)
class Score:
    """What is remembered of the best policy, also in checkpoints."""

    step: int
    """Environment steps before its evaluation."""
    value: float
    """What was best about it: the mean return of the evaluation, if not said otherwise."""
    weights: int
    """Weights that it keeps."""


class Best:
    """The best policy so far, held in memory."""

    def __init__(self, score: Score | None = None, policy: Policy | None = None) -> None:
        self.score, self.policy = score, policy

    def offer(self, step: int, value: float, make: Callable[[], Policy]) -> bool:
        """Takes a policy if it is better; gives whether it did.

        Args:
            value: Of the policy; more is better.
            make: Gives the policy.
        """
        policy = make()
        weights = sum(layer.kept for layer in policy.network.layers)
        old = self.score
        if old is not None and old.weights == weights and value <= old.value:
            return False
        self.score, self.policy = Score(step, value, weights), policy.copied()
        return True
