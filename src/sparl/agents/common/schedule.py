"""When an agent makes updates, and how many: by environment steps or by episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["steps", "episodes"]
EPISODE_BUNDLE = 32
"""Updates in one compiled call where their number depends on the length of episodes."""


@dataclass(frozen=True)
class UpdateSchedule:
    """`updates` after every `every` environment steps; or after so many episodes, for each step.

    It keeps no count of its own, so there is nothing of it to save: the steps taken and the updates
    made say all.
    """

    starts: int
    """Environment steps before the first update."""
    every: int = 1
    """Steps, or episodes, between two times of learning."""
    updates: int = 1
    """Made each time; with episodes, made for each of their steps."""
    unit: Unit = "steps"

    def planned(self, step: int) -> int:
        """Updates that are made in all by environment step `step`."""
        learned = max(0, step - self.starts)
        if self.unit == "episodes":
            return learned * self.updates
        return learned // self.every * self.updates

    def due(self, step: int, episodes: int, ended: bool, made: int) -> int:
        """Updates to make now.

        Args:
            step: Environment steps taken.
            episodes: Episodes that have ended.
            ended: Whether one of them ended with the newest step.
            made: Updates made so far.
        """
        if self.unit == "episodes" and not (ended and episodes % self.every == 0):
            return 0
        return max(0, self.planned(step) - made)

    @property
    def bundle(self) -> int:
        """Updates that may be one compiled call: always so many, so that it compiles once."""
        return self.updates if self.unit == "steps" else EPISODE_BUNDLE

    @property
    def most_drawn(self) -> int:
        """Updates whose batches are drawn together: those of one time, or some, as an episode may
        be long."""
        return self.updates if self.unit == "steps" else 8 * EPISODE_BUNDLE

    @property
    def per_step(self) -> float:
        """Updates for each environment step, on average."""
        return self.updates / (self.every if self.unit == "steps" else 1)

    def step_of(self, update: int) -> int:
        """The first environment step by which update number `update`, from 1, may be made."""
        times = -(-update // self.updates)
        return self.starts + times * (self.every if self.unit == "steps" else 1)
