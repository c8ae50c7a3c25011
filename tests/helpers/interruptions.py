"""Runs that are stopped as by a kill, and what must not depend on it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event

import sparl
from sparl.storage import RunFolder
from sparl.training import TIMES


class Stopped(BaseException):
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
    with open(run / "metrics.csv", encoding="utf-8") as file:
        rows = [{k: v for k, v in r.items() if k not in TIMES} for r in csv.DictReader(file)]
    other = run / "restructures.csv"
    summary = RunFolder(run).read_summary()
    assert summary is not None
    return {
        "policy": {p.name: p.read_bytes() for p in sorted((run / "policy").iterdir())},
        "best": {p.name: p.read_bytes() for p in sorted((run / "policy-best").glob("*"))},
        "best_step": summary["policy_best_step"],
        "metrics": rows,
        "restructures": other.read_text() if other.exists() else "",
        "evals": summary["evals"],
        "averages": {k: v for k, v in summary.items() if k.startswith("average_")},
    }


def process_environment(**variables: str) -> dict[str, str]:
    """Variables with which another process finds these helpers, and the same sparl as this one."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | variables


def python(script: str, *arguments: str, **variables: str) -> subprocess.Popen:
    """A process that runs a script."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env=process_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def events(run: Path) -> dict[str, dict[int, float]]:
    """Scalars of the event files, {tag: {step: value}}, as TensorBoard shows them: where a run was
    resumed it forgets what earlier files say of that step and later ones."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted((run / "tb").iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            if event.HasField("session_log"):
                for values in found.values():
                    for step in [step for step in values if step >= event.step]:
                        del values[step]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
            at += 16 + length
    return found
