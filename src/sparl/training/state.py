"""What the training loop itself must remember, and the final figures made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparl.methods import Returns
from sparl.networks import Footprint

RECENT = 100
"""Training episodes that the mean return of the log covers, as in Stable-Baselines3."""
NEWEST = 10
"""Training episodes that the mean return which methods see covers."""
FINAL = 10
"""Evaluations that the final return is the mean of."""


@dataclass
class LoopState:
    """Saved as JSON with every checkpoint."""

    step: int = 0
    """Environment steps taken."""
    episode: int = 0
    """Episodes begun and ended; its seed follows from it."""
    checkpointed: int = 0
    """Step of the newest checkpoint."""
    wall_seconds: float = 0.0
    """Time spent training, over all resumptions."""
    returns: list[float] = field(default_factory=list)
    """Of the newest `RECENT` training episodes; `lengths` beside it."""
    lengths: list[int] = field(default_factory=list)
    best_recent: float | None = None
    """The highest mean return of `NEWEST` training episodes so far, and below it the lowest."""
    lowest_recent: float | None = None
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean return) of every evaluation."""
    updates: int = 0
    footprints: list[float] = field(default_factory=lambda: [0.0] * len(Footprint._fields))
    """Those of all updates, added up: in the order of the fields of `Footprint`."""
    rng: dict[str, Any] = field(default_factory=dict)
    """State of the generator of exploration and sampling."""
    tables: dict[str, int] = field(default_factory=dict)
    """Bytes of each CSV file."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> LoopState:
        """What `dataclasses.asdict` gave, after a way through JSON, which has no tuples."""
        fields: dict[str, Any] = dict(content)
        fields["evaluations"] = [(step, value) for step, value in content["evaluations"]]
        return cls(**fields)

    def episode_ended(self, episode_return: float, length: int) -> None:
        self.episode += 1
        self.returns = [*self.returns, episode_return][-RECENT:]
        self.lengths = [*self.lengths, length][-RECENT:]
        if len(self.returns) >= NEWEST:
            recent = float(np.mean(self.returns[-NEWEST:]))
            best, lowest = self.best_recent, self.lowest_recent
            self.best_recent = recent if best is None else max(best, recent)
            self.lowest_recent = recent if lowest is None else min(lowest, recent)

    def updated(self, footprint: Footprint, count: int = 1) -> None:
        """Counts updates of networks with that footprint."""
        self.updates += count
        for _ in range(count):
            self.footprints = [a + b for a, b in zip(self.footprints, footprint, strict=True)]

    @property
    def recent_returns(self) -> Returns:
        """What methods see of the training returns; all 0 before there are `NEWEST` of them."""
        if self.best_recent is None or self.lowest_recent is None:
            return Returns()
        recent = float(np.mean(self.returns[-NEWEST:]))
        return Returns(recent, self.best_recent, self.lowest_recent)

    @property
    def average_footprint(self) -> Footprint | None:
        """The mean over all updates so far (GST, 2101.09650); None where there was none."""
        if not self.updates:
            return None
        return Footprint(*(total / self.updates for total in self.footprints))

    def summary(self) -> dict[str, Any]:
        """The figures of summary.json that are the loop's."""
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
