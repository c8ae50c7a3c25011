"""Reads finished runs from their folders: learning curves, final figures and sizes."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sparl.config import RunConfig
from sparl.errors import BadRun
from sparl.methods import Method
from sparl.networks import accounting
from sparl.storage import RunFolder, files, quoted
from sparl.training import inspect

SIZES = (
    "weights_kept",
    "weights_total",
    "policy_weights_kept",
    "policy_weights_total",
    "policy_bytes",
)
"""Keys of `accounting.sizes` in summary.json; summaries of early versions of sparl lack them."""

FOOTPRINT = tuple(f"average_{name}" for name in accounting.Footprint._fields)
"""Keys in summary.json of what training stored and moved, averaged over all updates."""


class Reached(NamedTuple):
    """When a run first reached a return: inf for never."""

    steps: float
    seconds: float


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, as its folder has it. Evaluations are in the order of their steps."""

    path: Path
    config: RunConfig
    agent: Any
    method: Method
    steps: tuple[int, ...]
    """Environment steps before each evaluation."""
    seconds: tuple[float, ...]
    """Wall-clock seconds before each evaluation, over all resumptions."""
    returns: tuple[float, ...]
    """Mean return of each evaluation."""
    final_return: float
    """Mean of the last 10 evaluations, as in summary.json."""
    wall_seconds: float
    footprint: dict[str, float | None]
    """By the keys of `FOOTPRINT`; None where there was no update, or where an early version of
    sparl wrote the summary."""
    sizes: dict[str, int]
    """By the keys of `SIZES`; see `accounting.sizes`."""

    def reaches(self, value: float) -> Reached:
        """Gives steps and seconds before the first evaluation whose return is at least `value`."""
        for step, seconds, value_reached in zip(
            self.steps, self.seconds, self.returns, strict=True
        ):
            if value_reached >= value:
                return Reached(float(step), seconds)
        return Reached(math.inf, math.inf)


def run_folders(paths: Sequence[str | Path]) -> list[Path]:
    """Lists run folders, each once.

    Args:
        paths: Run folders, and folders that contain run folders directly.

    Raises:
        BadRun: A path is neither.
    """
    by_real_path: dict[Path, Path] = {}
    for path in map(Path, paths):
        if (path / "config.json").is_file():
            folders = [path]
        else:
            folders = sorted(config.parent for config in path.glob("*/config.json"))
        if not folders:
            raise BadRun(f"{path} is no run folder of sparl and has none directly inside")
        for folder in folders:
            by_real_path.setdefault(folder.resolve(), folder)
    return list(by_real_path.values())


def read(path: Path) -> FinishedRun:
    """Reads a finished run from its folder.

    Raises:
        BadRun: The run is not finished, or its figures are not as sparl writes them. The message
            says how to go on with the run.
        BadCheckpoint: config.json or summary.json cannot be read.
    """
    folder = RunFolder.open(path)
    config, agent, method, _ = folder.read_config()
    way_out = f"Go on with it (sparl train --resume {quoted(path)}), or leave it out"
    if not (path / "summary.json").exists():
        raise BadRun(f"{path} is not finished: it has no summary.json. {way_out}")
    summary = files.read_json(path / "summary.json")
    try:
        env, seed = summary["env"], summary["seed"]
        if (env, seed) != (config.env, config.seed):
            raise BadRun(
                f"{path}/summary.json is of another run: env and seed are {env} and {seed}, "
                f"in config.json {config.env} and {config.seed}"
            )
        if summary["steps"] < config.steps:
            raise BadRun(
                f"{path} is not finished: its summary.json is of step {summary['steps']} of "
                f"{config.steps}. {way_out}"
            )
        steps = tuple(int(evaluation["step"]) for evaluation in summary["evals"])
        if not steps:
            raise ValueError("no evaluation")
        seconds_at = _seconds_at_steps(path / "metrics.csv")
        return FinishedRun(
            path=path,
            config=config,
            agent=agent,
            method=method,
            steps=steps,
            seconds=tuple(seconds_at[step] for step in steps),
            returns=tuple(float(evaluation["return"]) for evaluation in summary["evals"]),
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


def _seconds_at_steps(path: Path) -> dict[int, float]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return {int(r["step"]): float(r["wall_seconds"]) for r in csv.DictReader(file)}
    except OSError as error:
        raise BadRun(f"{path} cannot be read: {error}. Leave this run out") from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _sizes(path: Path, summary: dict[str, Any]) -> dict[str, int]:
    """Takes sizes from the summary, or from the newest checkpoint where the summary lacks them."""
    if summary.keys() >= set(SIZES):
        return {key: int(summary[key]) for key in SIZES}
    return accounting.sizes(inspect(path), inspect(path / "policy"))
