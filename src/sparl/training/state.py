"""The state of the training loop, which checkpoints save, and the final figures of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparl.methods import Returns
from sparl.networks import Footprint

RECENT = 100
"""Number of training episodes in the mean return of the log, as in Stable-Baselines3."""
NEWEST = 10
"""Number of training episodes in the mean return that methods see."""
FINAL = 10
"""Number of evaluations in the final return, which is their mean."""


@dataclass
class LoopState:
    """The state of the training loop; it is saved as JSON with every checkpoint."""

    step: int = 0
    """Environment steps so far."""
    episode: int = 0
    """Episodes that have ended or were cut: the number of the next one, which gives its seed."""
    checkpointed: int = 0
    """The step of the newest checkpoint."""
    wall_seconds: float = 0.0
    """Seconds of training, over all resumptions."""
    returns: list[float] = field(default_factory=list)
    """Returns of the newest `RECENT` training episodes."""
    lengths: list[int] = field(default_factory=list)
    """Lengths of the same episodes."""
    best_recent: float | None = None
    """The highest mean return of `NEWEST` training episodes in a row."""
    lowest_recent: float | None = None
    """The lowest mean return of `NEWEST` training episodes in a row."""
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean return) of every evaluation."""
    evaluation_owed: bool = False
    """The evaluation of this step was not finished: whoever resumes makes it first."""
    updates: int = 0
    """Updates so far."""
    footprints: list[float] = field(default_factory=lambda: [0.0] * len(Footprint._fields))
    """The sum of the footprints of all updates, in the order of the fields of `Footprint`."""
    rng: dict[str, Any] = field(default_factory=dict)
    """State of the generator for exploration and sampling."""
    tables: dict[str, int] = field(default_factory=dict)
    """Bytes of each CSV file, by name."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> LoopState:
        """The state from the JSON of `dataclasses.asdict`, in which tuples have become lists."""
        fields: dict[str, Any] = dict(content)
        fields["evaluations"] = [(step, value) for step, value in content["evaluations"]]
        return cls(**fields)

    def episode_ended(self, episode_return: float, length: int) -> None:
        """Counts an episode that has ended."""
        self.episode += 1
        self.returns = [*self.returns, episode_return][-RECENT:]
        self.lengths = [*self.lengths, length][-RECENT:]
        if len(self.returns) >= NEWEST:
            recent = float(np.mean(self.returns[-NEWEST:]))
            best, lowest = self.best_recent, self.lowest_recent
            self.best_recent = recent if best is None else max(best, recent)
            self.lowest_recent = recent if lowest is None else min(lowest, recent)

    def updated(self, footprint: Footprint, count: int = 1) -> None:
        """Counts updates of networks with this footprint."""
        self.updates += count
        for _ in range(count):
            self.footprints = [a + b for a, b in zip(self.footprints, footprint, strict=True)]

    @property
    def recent_returns(self) -> Returns:
        """The training returns as methods see them; all are 0 before there are `NEWEST` of them."""
        if self.best_recent is None or self.lowest_recent is None:
            return Returns()
        recent = float(np.mean(self.returns[-NEWEST:]))
        return Returns(recent, self.best_recent, self.lowest_recent)

    @property
    def average_footprint(self) -> Footprint | None:
        """The mean footprint of all updates (GST, 2101.09650); None if there were no updates."""
        if not self.updates:
            return None
        return Footprint(*(total / self.updates for total in self.footprints))

    def summary(self) -> dict[str, Any]:
        """The entries of summary.json that come from the loop."""
        returns = [value for _, value in self.evaluations]
        average = self.average_footprint
        return {
            "steps": self.step,
            "final_return": float(np.mean(returns[-FINAL:])),
            "best_return": max(returns),
            "evals": [{"step": step, "return": value} for step, value in self.evaluations],
            "wall_seconds": self.wall_seconds,
            "steps_per_second": self.step / self.wall_seconds,
        } | {f"average_{name}": getattr(average, name, None) for name in Footprint._fields}
