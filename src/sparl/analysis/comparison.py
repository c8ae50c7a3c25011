"""Compares finished runs: reads their folders, groups them into variants, and aggregates.

Runs that differ only in their seeds are one variant. Runs whose returns cannot be compared are
refused: those of another environment, with other steps or another evaluation, and two runs of one
variant with the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sparl.analysis import statistics
from sparl.analysis.runs import FOOTPRINT, SIZES, FinishedRun, read, run_folders
from sparl.analysis.variants import VariantConfig, other_differences, variant_labels
from sparl.errors import BadRun, BadValue

REACH = 0.9
"""Where the return to reach lies between the lowest first evaluation and the best final return, if
none is given."""

MUST_AGREE = {
    "env": "Compare each environment by itself",
    "steps": "Prolong the shorter with sparl train --resume DIR --steps N, or leave one out",
    "eval_every": "Leave one out, or train it again with the same eval_every",
    "eval_episodes": "Leave one out, or train it again with the same eval_episodes",
}
"""Options in which compared runs must agree, and what to do where they differ."""


@dataclass(frozen=True)
class Variant:
    """Results of the runs of one variant. Sizes are means over the seeds, times are medians."""

    label: str
    agent: str
    method: str
    seeds: tuple[int, ...]
    final_returns: tuple[float, ...]
    """Of each seed."""
    final_return: float
    """IQM of `final_returns`."""
    low: float | None
    """Lower end of the 95 % interval of `final_return`; None for one seed."""
    high: float | None
    """Upper end of that interval."""
    policy_weights_kept: float
    policy_weights_total: float
    policy_bytes: float
    weights_kept: float
    """Of all online networks, at the end."""
    weights_total: float
    """Of the same networks if they were dense."""
    average_compression_ratio: float | None
    """Mean over all updates, like the next three; see `accounting.Footprint`."""
    average_compression_ratio_with_indices: float | None
    average_weight_bytes_read: float | None
    average_weight_bytes_written: float | None
    steps_per_second: float
    wall_seconds: float
    steps_to_reach: float | None
    """Environment steps until an evaluation first reaches `Comparison.reach`; None for never."""
    seconds_to_reach: float | None
    seeds_reaching: int
    """How many seeds ever reach it."""
    runs: tuple[FinishedRun, ...]

    def figures(self) -> dict[str, Any]:
        """Gives all fields except the runs, with lists in place of tuples."""
        fields = {key: value for key, value in vars(self).items() if key != "runs"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


@dataclass(frozen=True)
class Comparison:
    """Variants of one environment, in the order of their first runs."""

    env: str
    steps: int
    reach: float
    """The return that `steps_to_reach` and `seconds_to_reach` of variants refer to."""
    reach_meaning: str
    """How `reach` was chosen, for a reader."""
    variants: tuple[Variant, ...]
    notes: tuple[str, ...]
    """What a reader of the figures must know, one sentence each."""

    def as_dict(self) -> dict[str, Any]:
        """Gives everything for JSON; runs are given by their folders."""
        content = {key: value for key, value in vars(self).items() if key != "variants"}
        content["notes"] = list(self.notes)
        content["variants"] = [
            variant.figures() | {"runs": [str(run.path) for run in variant.runs]}
            for variant in self.variants
        ]
        return content


def compare(runs: str | Path | Sequence[str | Path], *, reach: float | None = None) -> Comparison:
    """Compares finished runs of one environment. Runs that differ only in seed are one variant.

    Args:
        runs: Run folders, and folders that contain run folders directly.
        reach: The return to which variants are timed. If not given: 90 % of the way from the
            lowest first evaluation of any run to the best variant's final return.

    Raises:
        BadRun: Runs are missing, not finished, or not comparable; the message says what to do.
        BadFile: A file cannot be read.
        BadValue: `reach` is not finite.
    """
    if reach is not None and not np.isfinite(reach):
        raise BadValue(f"reach is {reach}: it must be a finite return")
    paths = run_folders([runs] if isinstance(runs, str | Path) else runs)
    finished_runs = [read(path) for path in paths]
    if not finished_runs:
        raise BadRun("no runs to compare: name run folders, or folders that contain run folders")
    for run in finished_runs[1:]:
        _refuse_if_not_comparable(finished_runs[0], run)
    groups: dict[VariantConfig, list[FinishedRun]] = {}
    for run in finished_runs:
        group = groups.setdefault(VariantConfig.of(run.config, run.agent, run.method), [])
        for other in group:
            if other.config.seed == run.config.seed:
                raise BadRun(
                    f"{other.path} and {run.path} are the same variant with the same seed "
                    f"{run.config.seed}: leave one out"
                )
        group.append(run)
    config = finished_runs[0].config
    if reach is None:
        reach, meaning = _default_reach(list(groups.values()))
    else:
        meaning = "as given"
    labels = variant_labels(list(groups))
    variants = tuple(
        _aggregate(label, sorted(group, key=lambda run: run.config.seed), reach)
        for label, group in zip(labels, groups.values(), strict=True)
    )
    return Comparison(
        config.env, config.steps, reach, meaning, variants, _notes(variants, list(groups))
    )


def _refuse_if_not_comparable(one: FinishedRun, other: FinishedRun) -> None:
    for field, way_out in MUST_AGREE.items():
        values = getattr(one.config, field), getattr(other.config, field)
        if values[0] != values[1]:
            raise BadRun(
                f"{one.path} and {other.path} cannot be compared: {field} is {values[0]} in the "
                f"first and {values[1]} in the second. {way_out}"
            )


def _default_reach(groups: list[list[FinishedRun]]) -> tuple[float, str]:
    """Gives a return that most learners reach, and how it was chosen."""
    # A share of the best return itself would be out of reach where returns are negative.
    first = min(run.returns[0] for run in chain(*groups))
    best = max(_iqm(group) for group in groups)
    return first + REACH * (best - first), (
        f"{100 * REACH:.0f} % of the way from the lowest first evaluation ({first:.1f}) to the "
        f"best final return ({best:.1f})"
    )


def _iqm(runs: list[FinishedRun]) -> float:
    return statistics.iqm({runs[0].config.env: [run.final_return for run in runs]})


def _aggregate(label: str, runs: list[FinishedRun], reach: float) -> Variant:
    returns = tuple(run.final_return for run in runs)
    interval = statistics.interval({runs[0].config.env: returns})
    reached = np.array([run.reaches(reach) for run in runs])
    # Where half of an even number of seeds never reach it, the median is infinite: never.
    steps, seconds = (None if np.isinf(x) else float(x) for x in np.median(reached, axis=0))
    footprint: dict[str, Any] = {
        key: _mean([run.footprint[key] for run in runs]) for key in FOOTPRINT
    }
    return Variant(
        label=label,
        agent=runs[0].agent.name,
        method=runs[0].method.name,
        seeds=tuple(run.config.seed for run in runs),
        final_returns=returns,
        final_return=_iqm(runs),
        low=None if interval is None else interval[0],
        high=None if interval is None else interval[1],
        **{key: float(np.mean([run.sizes[key] for run in runs])) for key in SIZES},
        **footprint,
        steps_per_second=float(np.median([run.steps_made / run.wall_seconds for run in runs])),
        wall_seconds=float(np.median([run.wall_seconds for run in runs])),
        steps_to_reach=steps,
        seconds_to_reach=seconds,
        seeds_reaching=int(np.isfinite(reached[:, 0]).sum()),
        runs=tuple(runs),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    recorded = [value for value in values if value is not None]
    return float(np.mean(recorded)) if recorded else None


def _notes(variants: Sequence[Variant], configs: list[VariantConfig]) -> tuple[str, ...]:
    seeds = [len(variant.seeds) for variant in variants]
    notes = []
    if max(seeds) > 1:
        notes.append("interval: 95 %, percentile bootstrap over the seeds")
    if min(seeds) == 1:
        notes.append("1 seed: no interval")
    if min(seeds) < 4:
        notes.append("with fewer than 4 seeds nothing is trimmed: the IQM is the mean")
    differences = other_differences(configs)
    if differences:
        notes.append(f"these variants also differ in: {', '.join(differences)}")
    notes.append(
        "steps/s and seconds are medians over the seeds and include evaluations; runs made side by "
        "side compete for the machine"
    )
    return tuple(notes)
