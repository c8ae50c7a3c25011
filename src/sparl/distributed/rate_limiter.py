"""The limit on how far collection may be ahead of learning; learning is never ahead.

Without it, collection in other processes would silently change how often the agent learns from each
transition. It is Reverb's rate limiter (2102.04736), but counts batches instead of items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-9
"""Tolerance for ratios that are not exact in binary: 0.29 * 100 is a little below 29."""


@dataclass(frozen=True)
class RateLimiter:
    """Keeps updates at `ratio` times the transitions inserted after the first `starts`.

    It has no count of its own, so a checkpoint saves nothing of it.
    """

    ratio: float
    """Updates for each transition."""
    starts: int
    """Transitions before learning begins."""
    slack: int
    """Most transitions that may wait to be learned from, those under way included."""
    every: int = 1
    """Transitions between two times of learning."""

    def planned(self, inserted: int) -> int:
        """The number of updates in all that so many transitions allow."""
        learned = (inserted - self.starts) // self.every * self.every
        return max(0, math.floor(self.ratio * learned + ROUNDING))

    def due(self, step: int, episodes: int, ended: bool, made: int) -> int:
        """The number of updates that may be made now.

        Args:
            step: Environment steps so far, which is the number of transitions in the replay.
            episodes: Not used.
            ended: Not used.
            made: Updates so far.
        """
        return max(0, self.planned(step) - made)

    def step_of(self, update: int) -> int:
        """The first environment step at which update number `update`, from 1, may be made."""
        times = math.ceil(update / (self.ratio * self.every) - ROUNDING)
        return self.starts + times * self.every

    def admits(self, steps: int, ordered: int, updates: int) -> bool:
        """Whether more transitions may be collected.

        Args:
            steps: How many more.
            ordered: Transitions that are inserted or under way.
            updates: Updates so far.
        """
        # What the next update waits for is allowed besides the slack: otherwise both sides could
        # wait for each other.
        return ordered + steps < self.slack + self.step_of(updates + 1)

    def measured(self, inserted: int, updates: int) -> float | None:
        """The updates for each transition so far; None before learning has begun."""
        learned = inserted - self.starts
        return updates / learned if learned > 0 else None
