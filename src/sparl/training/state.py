"""The state of the training loop, which checkpoints save, and the final figures of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparl.errors import BadFile
from sparl.methods import Returns
from sparl.networks import Footprint
from sparl.storage import STEPS, Mark, schema
from sparl.training.best import Score
from sparl.validation import shown

RECENT = 100
"""Number of training episodes in the mean return of the log, as in Stable-Baselines3."""
NEWEST = 10
"""Number of training episodes in the mean return that methods see."""
FINAL, OF_ALL = 10, 3
"""The most evaluations in the final return, their mean; and which part of all they are at most."""
ENDLESS = 10_000
"""Steps that an episode may take in an environment without a limit, before one that is under way
while a checkpoint is due is cut."""


@dataclass
class LoopState:
    """The state of the training loop; it is saved as JSON with every checkpoint."""

    step: int = 0
    """Environment steps so far."""
    episode: int = 0
    """Episodes that have ended or were cut: the number of the next one, which gives its seed."""
    checkpointed: int = 0
    """The step of the newest checkpoint; -1 where one must be there before the first step."""
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
    best: Score | None = None
    """Of the best policy, which is in the checkpoint's folder."""
    ended: str = ""
    """Why the run ends at this checkpoint before all its steps are made; empty if it does not."""
    updates: int = 0
    """Updates so far."""
    footprints: list[float] = field(default_factory=lambda: [0.0] * len(Footprint._fields))
    """The sum of the footprints of all updates, in the order of the fields of `Footprint`."""
    rng: dict[str, Any] = field(default_factory=dict)
    """State of the generator for exploration and sampling."""
    tables: dict[str, int] = field(default_factory=dict)
    """Bytes of each CSV file, by name."""
    digests: dict[str, str] = field(default_factory=dict)
    """The sha256 of these bytes; empty in what sparl 0.1 wrote."""

    @classmethod
    def from_json(cls, content: dict[str, Any], file: Path) -> LoopState:
        """The state from the JSON of `dataclasses.asdict`, in which tuples have become lists.

        Args:
            content: The JSON.
            file: Where it is from.

        Raises:
            BadFile: A field is missing, unknown, or not as a run has it.
        """
        state = schema.convert(content, cls, file, "state", big="rng")
        counts = ("step", "episode", "updates", "wall_seconds")
        wrong = [name for name in counts if getattr(state, name) < 0]
        wrong += ["footprints"] * (len(state.footprints) != len(Footprint._fields))
        wrong += ["lengths"] * (len(state.lengths) != len(state.returns))
        try:
            np.random.default_rng(0).bit_generator.state = state.rng
        except Exception as error:  # NumPy raises whatever its conversions raise
            raise BadFile(
                f"{file} is not as sparl wrote it: state.rng is no state of a generator: {error!r}",
                file=file,
                field="state.rng",
            ) from error
        for name in wrong:
            raise BadFile(
                f"{file} is not as sparl wrote it: state.{name} is {shown(getattr(state, name))}",
                file=file,
                field=f"state.{name}",
                value=getattr(state, name),
            )
        return state

    @property
    def marks(self) -> dict[str, Mark]:
        """How far each CSV file had come, by name."""
        return {name: Mark(size, self.digests.get(name)) for name, size in self.tables.items()}

    @marks.setter
    def marks(self, marks: dict[str, Mark]) -> None:
        self.tables = {name: mark.bytes for name, mark in marks.items()}
        self.digests = {name: m.sha256 for name, m in marks.items() if m.sha256 is not None}

    def episode_ended(self, episode_return: float, length: int) -> None:
        """Counts an episode that has ended; one without a step has no return."""
        self.episode += 1
        if not length:
            return
        self.returns = [*self.returns, episode_return][-RECENT:]
        self.lengths = [*self.lengths, length][-RECENT:]
        if len(self.returns) >= NEWEST:
            recent = float(np.mean(self.returns[-NEWEST:]))
            best, lowest = self.best_recent, self.lowest_recent
            self.best_recent = recent if best is None else max(best, recent)
            self.lowest_recent = recent if lowest is None else min(lowest, recent)

    @property
    def is_evaluated(self) -> bool:
        """Whether the newest evaluation is of this step."""
        return self.evaluations[-1:] != [] and self.evaluations[-1][0] == self.step

    def go_on_from(self, other: LoopState) -> None:
        """Takes over the returns of training before, by which a method measures those to come."""
        self.best_recent, self.lowest_recent = other.best_recent, other.lowest_recent
        self.returns, self.lengths = other.returns, other.lengths

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
        # Differences of neighbours tell the noise where returns rise, too.
        variance = float(np.mean(np.square(np.diff(self.returns)))) / 2
        error = math.sqrt(2 * variance / NEWEST)
        return Returns(recent, self.best_recent, self.lowest_recent, error)

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
            "final_return": float(np.mean(late(returns))) if returns else None,
            "best_return": max(returns, default=None),
            "evals": [{"step": step, "return": value} for step, value in self.evaluations],
            "policy_best_step": None if self.best is None else self.best.step,
            "policy_best_return": None if self.best is None else self.best.value,
            "ended": self.ended or STEPS,
            "wall_seconds": self.wall_seconds,
            "steps_per_second": self.step / self.wall_seconds,
        } | {f"average_{name}": getattr(average, name, None) for name in Footprint._fields}


def late(returns: Sequence[float]) -> Sequence[float]:
    """The evaluations of late training, whose mean is the final return: a run's last ten, or the
    last third where ten would reach back to when it had hardly begun to learn."""
    return returns[-min(FINAL, max(len(returns) // OF_ALL, 1)) :]


def is_overdue(state: LoopState, checkpoint_every: int, longest: int | None) -> bool:
    """Whether a checkpoint is due for longer than episodes with an end can take.

    Args:
        longest: Steps after which the episodes under way have ended; None without a limit.
    """
    waited = state.step - state.checkpointed - checkpoint_every
    return waited > max(ENDLESS if longest is None else longest, checkpoint_every)
