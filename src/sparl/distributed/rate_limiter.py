"""How far collection may be ahead of learning, and learning never ahead of collection.

Collecting in other processes would without it silently change how often each transition is learned
from. It is Reverb's rate limiter (2102.04736), counted in batches in place of items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-9
"""What a ratio that is no binary fraction may be off by: 0.29 * 100 is a little below 29."""


@dataclass(frozen=True)
class RateLimiter:
    """Holds updates at `ratio` times the transitions inserted after the first `starts`.

    It keeps no count of its own, so there is nothing of it to save: transitions `inserted` and
    `updates` made say all.
    """

    ratio: float
    starts: int
    """Transitions before learning begins."""
    slack: int
    """Transitions that may be waiting to be learned from, those under way included."""

    def planned(self, inserted: int) -> int:
        """Updates that so many transitions allow in all."""
        return max(0, math.floor(self.ratio * (inserted - self.starts) + ROUNDING))

    def due(self, step: int, episodes: int, ended: bool, made: int) -> int:
        """Updates that the transitions in the replay, one a step, allow now."""
        return max(0, self.planned(step) - made)

    def step_of(self, update: int) -> int:
        """The first environment step by which update number `update`, from 1, may be made."""
        return self.starts + math.ceil(update / self.ratio)

    def admits(self, steps: int, known: int, updates: int) -> bool:
        """Whether `steps` more transitions may be collected.

        `known` transitions are inserted or under way. Less than one update's worth is over when
        no update is due; it does not count, or a ratio that is no whole number would stop it all.
        """
        behind = known - self.starts - updates / self.ratio
        return behind + steps < self.slack + 1 / self.ratio - ROUNDING

    def measured(self, inserted: int, updates: int) -> float | None:
        """Updates per transition so far; None before learning has begun."""
        learned = inserted - self.starts
        return updates / learned if learned > 0 else None
