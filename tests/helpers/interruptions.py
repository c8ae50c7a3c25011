"""Runs that are stopped as by a kill, and what must not depend on it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import sparl
from sparl.storage import RunFolder
from sparl.training import TIMES


class Stopped(Exception):
    """Stands for a kill: nothing of the run's own clean-up may matter."""


class StopAt(sparl.Callback):
    """Ends a run right after its n-th checkpoint, or at the evaluation at a step."""

    def __init__(self, checkpoint: int = 0, evaluation: int = 0) -> None:
        self.checkpoint, self.evaluation, self.seen = checkpoint, evaluation, 0

    def on_checkpoint(self, step: int, path: Path) -> None:
        self.seen += 1
        if self.seen == self.checkpoint:
            raise Stopped

    def on_evaluation(self, step: int, evaluation: Any) -> None:
        if step == self.evaluation:
            raise Stopped


def outcome(run: Path) -> dict[str, Any]:
    """All that must not depend on interruptions: policy, logs without times, final figures."""
    with open(run / "metrics.csv") as file:
        rows = [{k: v for k, v in r.items() if k not in TIMES} for r in csv.DictReader(file)]
    other = run / "restructures.csv"
    summary = RunFolder(run).read_summary()
    assert summary is not None
    return {
        "policy": {p.name: p.read_bytes() for p in sorted((run / "policy").iterdir())},
        "metrics": rows,
        "restructures": other.read_text() if other.exists() else "",
        "evals": summary["evals"],
        "averages": {k: v for k, v in summary.items() if k.startswith("average_")},
    }
