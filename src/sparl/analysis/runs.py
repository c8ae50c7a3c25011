"""Finished runs, as their folders tell: curves, final figures and sizes."""

from __future__ import annotations

import csv
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparl.config import RunConfig
from sparl.errors import BadRun
from sparl.methods import Method
from sparl.networks import accounting
from sparl.storage import RunFolder, files
from sparl.training import inspect

SIZES = (
    "weights_kept",
    "weights_total",
    "policy_weights_kept",
    "policy_weights_total",
    "policy_bytes",
)
"""Keys of `accounting.sizes`; summaries written before there was that function lack them."""

FOOTPRINT = tuple(f"average_{name}" for name in accounting.Footprint._fields)
"""Keys of the means over all updates of what training holds and moves."""


@dataclass(frozen=True)
class Run:
    """A finished run, as its folder tells. Evaluations are in order of their steps."""

    path: Path
    config: RunConfig
    agent: Any
    method: Method
    steps: tuple[int, ...]
    """Environment steps before each evaluation."""
    seconds: tuple[float, ...]
    """Time spent before each evaluation, over all resumptions."""
    returns: tuple[float, ...]
    """Mean return of each evaluation."""
    final_return: float
    """Mean of the last 10 evaluations, as in summary.json."""
    wall_seconds: float
    footprint: dict[str, float | None]
    """By the keys of `FOOTPRINT`; None where there was no update, or an older sparl wrote the
    summary."""
    sizes: dict[str, int]
    """See `accounting.sizes`."""

    def reaches(self, value: float) -> tuple[float, float]:
        """Steps and seconds before the first evaluation of at least `value`; inf for never."""
        for step, seconds, found in zip(self.steps, self.seconds, self.returns, strict=True):
            if found >= value:
                return float(step), seconds
        return math.inf, math.inf


def folders(paths: Sequence[str | Path]) -> list[Path]:
    """The run folders that `paths` are or have directly inside, each once."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if (path / "config.json").is_file():
            inside = [path]
        else:
            inside = sorted(config.parent for config in path.glob("*/config.json"))
        if not inside:
            raise BadRun(f"{path} is no run folder of sparl and has none directly inside")
        for folder in inside:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def read(path: Path) -> Run:
    """A run that has come to its end.

    Raises `BadRun` for one that has not, or whose figures are not sparl's; `BadCheckpoint` for a
    config.json or summary.json that cannot be read.
    """
    folder = RunFolder.open(path)
    config, agent, method, _ = folder.read_config()
    way_out = f"Go on with it (sparl train --resume {shlex.quote(str(path))}), or leave it out"
    if not (path / "summary.json").exists():
        raise BadRun(f"{path} is not finished: it has no summary.json. {way_out}")
    summary = files.read_json(path / "summary.json")
    try:
        of = (summary["env"], summary["seed"])
        if of != (config.env, config.seed):
            raise BadRun(
                f"{path}/summary.json is of another run: env and seed are {of[0]} and {of[1]}, "
                f"in config.json {config.env} and {config.seed}"
            )
        if summary["steps"] < config.steps:
            raise BadRun(
                f"{path} is not finished: its summary.json is of step {summary['steps']} of "
                f"{config.steps}. {way_out}"
            )
        steps = tuple(int(found["step"]) for found in summary["evals"])
        if not steps:
            raise ValueError("no evaluation")
        clock = _clock(path / "metrics.csv")
        return Run(
            path=path,
            config=config,
            agent=agent,
            method=method,
            steps=steps,
            seconds=tuple(clock[step] for step in steps),
            returns=tuple(float(found["return"]) for found in summary["evals"]),
            final_return=float(summary["final_return"]),
            wall_seconds=float(summary["wall_seconds"]),
            footprint={key: _number(summary.get(key)) for key in FOOTPRINT},
            sizes=_sizes(path, summary),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRun(
            f"{path}: summary.json and metrics.csv are not as sparl wrote them: {error!r}. "
            "Leave this run out"
        ) from error


def _clock(path: Path) -> dict[int, float]:
    """Seconds spent at each step that metrics.csv has a row of."""
    try:
        with open(path, newline="") as file:
            return {int(r["step"]): float(r["wall_seconds"]) for r in csv.DictReader(file)}
    except OSError as error:
        raise BadRun(f"{path} cannot be read: {error}. Leave this run out") from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _sizes(path: Path, summary: dict[str, Any]) -> dict[str, int]:
    """From the summary, or from the newest checkpoint where it was written by an older sparl."""
    if summary.keys() >= set(SIZES):
        return {key: int(summary[key]) for key in SIZES}
    return accounting.sizes(inspect(path), inspect(path / "policy"))
