"""Reads finished runs from their folders: learning curves, final figures and sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sparl.config import RunConfig
from sparl.errors import BadFile, BadRun
from sparl.networks import accounting
from sparl.storage import Mark, RunFolder, SummaryFile, files, quoted, read_table
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

STUDY = "study.json"
"""In a sweep's folder: what each of its runs is, by `ENV/VARIANT-SEED`."""


class Unfinished(BadRun):
    """A run that has not come to its end: a comparison leaves it out."""


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
    """A configuration, or `NotImported`."""
    method: Any
    steps: tuple[int, ...]
    """Environment steps before each evaluation."""
    seconds: tuple[float, ...]
    """Wall-clock seconds before each evaluation, over all resumptions."""
    returns: tuple[float, ...]
    """Mean return of each evaluation."""
    learned: tuple[bool, ...]
    """Whether anything was learned before each evaluation."""
    steps_made: int
    """Environment steps in all; fewer than in `config` where something ended the run before."""
    ended: str
    """Why it ended: `STEPS`, or what stopped it before it had made them all."""
    changes: tuple[Mapping[str, Any], ...]
    """What was changed while it went on: by name the old value and the new one."""
    late_return: float
    """Mean of the last evaluations: `final_return` in summary.json."""
    wall_seconds: float
    footprint: dict[str, float | None]
    """By the keys of `FOOTPRINT`; None where there was no update, or where an early version of
    sparl wrote the summary."""
    sizes: dict[str, int]
    """By the keys of `SIZES`; see `accounting.sizes`."""

    @property
    def policy_return(self) -> float:
        """Mean return of the last evaluation: that of the policy which the run has left."""
        return self.returns[-1]

    def reaches(self, value: float) -> Reached:
        """Gives steps and seconds before the first evaluation whose return is at least `value`.

        Evaluations before the first update are of a policy that has learned nothing yet: what it
        returns was not reached.
        """
        for i, value_reached in enumerate(self.returns):
            if self.learned[i] and value_reached >= value:
                return Reached(float(self.steps[i]), self.seconds[i])
        return Reached(math.inf, math.inf)


def run_folders(paths: Sequence[str | Path]) -> list[Path]:
    """Lists run folders, each once.

    Args:
        paths: Run folders, folders that contain run folders directly, and folders of sweeps, which
            contain such a folder for each environment.

    Raises:
        BadRun: A path is none of them.
    """
    by_real_path: dict[Path, Path] = {}
    for path in map(Path, paths):
        if (path / "config.json").is_file():
            folders = [path]
        else:
            inside = sorted(config.parent for config in path.glob("*/config.json"))
            folders = inside or sorted(config.parent for config in path.glob("*/*/config.json"))
        if not folders:
            raise BadRun(f"{path} is no run folder of sparl and has none inside")
        for folder in folders:
            by_real_path.setdefault(folder.resolve(), folder)
    return list(by_real_path.values())


def name_in_sweep(path: Path) -> str:
    """What a sweep calls the variant of a run in its folder; empty for a run of no sweep."""
    real = path.resolve()
    try:
        listed = files.read_json(real.parent.parent / STUDY)
    except BadFile:
        return ""
    known = isinstance(listed, dict) and f"{real.parent.name}/{real.name}" in listed
    return real.name.rpartition("-")[0] if known else ""


def read(path: Path) -> FinishedRun:
    """Reads a finished run from its folder.

    Raises:
        Unfinished: The message says how to go on with it.
        BadRun: It has no returns, or files of another run.
        BadFile: config.json, summary.json or metrics.csv is altered, or not as sparl writes it.
    """
    folder = RunFolder.open(path)
    config, agent, method, _ = folder.record()
    way_out = f"Go on with it (sparl train --resume {quoted(path)}), or leave it out"
    if not (path / "summary.json").exists():
        raise Unfinished(f"{path} is not finished: it has no summary.json. {way_out}")
    file = path / "summary.json"
    summary = SummaryFile.read(file)
    if (summary.env, summary.seed) != (config.env, config.seed):
        raise BadRun(
            f"{file} is of another run: env and seed are {summary.env} and {summary.seed}, "
            f"in config.json {config.env} and {config.seed}"
        )
    if not summary.is_whole(config.steps):
        raise Unfinished(
            f"{path} is not finished: its summary.json is of step {summary.steps} of "
            f"{config.steps}. {way_out}"
        )
    late_return = summary.final_return
    if late_return is None and not config.eval_episodes:
        raise BadRun(f"{path} has no returns: eval_episodes is 0. Leave it out")
    steps = tuple(evaluation.step for evaluation in summary.evals)
    if not steps or late_return is None or summary.wall_seconds <= 0:
        field = "wall_seconds" if steps else "evals"
        raise BadFile(
            f"{file} is not as sparl wrote it: {field} is {getattr(summary, field)}",
            file=file,
            field=field,
            value=getattr(summary, field),
            way_out="Leave this run out",
        )
    rows = _rows_at_steps(path / "metrics.csv", summary.tables.get("metrics.csv"))
    missing = [step for step in steps if step not in rows]
    if missing:
        raise BadFile(
            f"{path / 'metrics.csv'} has no row of step {missing[0]}, at which summary.json has an "
            "evaluation",
            file=path / "metrics.csv",
            field="step",
            value=missing[0],
            way_out="Leave this run out",
        )
    return FinishedRun(
        path=path,
        config=config,
        agent=agent,
        method=method,
        steps=steps,
        seconds=tuple(rows[step][0] for step in steps),
        returns=tuple(evaluation.value for evaluation in summary.evals),
        learned=tuple(rows[step][1] for step in steps),
        steps_made=summary.steps,
        ended=summary.ended,
        changes=tuple(change.changed for change in folder.changes()),
        late_return=late_return,
        wall_seconds=summary.wall_seconds,
        footprint={key: _float(summary.figure(key)) for key in FOOTPRINT},
        sizes=_sizes(path, summary),
    )


def _float(value: int | float | None) -> float | None:
    return None if value is None else float(value)


def _rows_at_steps(path: Path, mark: Mark | None) -> dict[int, tuple[float, bool]]:
    """Gives wall-clock seconds, and whether there were updates, of each row by its step."""
    table = read_table(path, mark)
    if "wall_seconds" not in table:
        raise BadFile(f"{path} has no column wall_seconds", file=path, way_out="Leave this run out")
    seconds = map(float, table["wall_seconds"])
    learned = map(bool, table["updates"] > 0 if "updates" in table else table["step"] > 0)
    return dict(zip(map(int, table["step"]), zip(seconds, learned, strict=True), strict=True))


def _sizes(path: Path, summary: SummaryFile) -> dict[str, int]:
    """Takes sizes from the summary, or from the newest checkpoint where the summary lacks them."""
    sizes = {key: summary.figure(key) for key in SIZES}
    if None in sizes.values():
        return accounting.sizes(inspect(path), inspect(path / "policy"))
    return {key: int(value) for key, value in sizes.items() if value is not None}
