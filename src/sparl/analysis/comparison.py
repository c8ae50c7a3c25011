"""Finished runs side by side: read from their folders, grouped into variants, summed up.

Runs that differ in their seeds alone are one variant. Runs whose returns cannot be compared are
refused: another environment, other steps, another evaluation, the same seed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sparl import agents
from sparl.analysis import statistics
from sparl.analysis.runs import FOOTPRINT, SIZES, Run, folders, read
from sparl.analysis.variants import Setting, also_differ, labels
from sparl.errors import BadRun, BadValue

NEARLY = 0.9
"""How far from the lowest first evaluation to the best final return counts as having learned."""

MUST_AGREE = {
    "env": "Compare each environment by itself",
    "steps": "Prolong the shorter with sparl train --resume DIR --steps N, or leave one out",
    "eval_every": "Leave one out, or train it again with the same --eval-every",
    "eval_episodes": "Leave one out, or train it again with the same --eval-episodes",
}
"""Options of a run without which returns cannot be compared, and the way out."""


@dataclass(frozen=True)
class Variant:
    """What the runs of one variant gave. Sizes are means over the seeds, times are medians."""

    label: str
    agent: str
    method: str
    seeds: tuple[int, ...]
    final_returns: tuple[float, ...]
    """Of each seed."""
    final_return: float
    """Their IQM."""
    low: float | None
    """Ends of its 95 % interval; None for one seed."""
    high: float | None
    policy_weights_kept: float
    policy_weights_total: float
    policy_bytes: float
    weights_kept: float
    """Of all online networks, at the end."""
    weights_total: float
    """If they were dense."""
    average_compression_ratio: float | None
    """This and the next three: see `accounting.Footprint`; means over all updates."""
    average_compression_ratio_with_indices: float | None
    average_weight_bytes_read: float | None
    average_weight_bytes_written: float | None
    steps_per_second: float
    wall_seconds: float
    steps_to_reach: float | None
    """Steps until the evaluation return first is `Comparison.reach`; None for never."""
    seconds_to_reach: float | None
    seeds_reaching: int
    runs: tuple[Run, ...]

    def figures(self) -> dict[str, Any]:
        """All fields but the runs themselves."""
        fields = {key: value for key, value in vars(self).items() if key != "runs"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


@dataclass(frozen=True)
class Comparison:
    """Variants of one environment, in the order in which their first runs were named."""

    env: str
    steps: int
    reach: float
    """The return that `steps_to_reach` and `seconds_to_reach` are about."""
    reach_meaning: str
    variants: tuple[Variant, ...]
    notes: tuple[str, ...]
    """What a reader of the figures must know, a sentence each."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Each variant also has the folders of its runs."""
        found = {key: value for key, value in vars(self).items() if key != "variants"}
        found["notes"] = list(self.notes)
        found["variants"] = [
            variant.figures() | {"runs": [str(run.path) for run in variant.runs]}
            for variant in self.variants
        ]
        return found


def compare(runs: str | Path | Sequence[str | Path], *, reach: float | None = None) -> Comparison:
    """Compares finished runs of one environment, a variant for all that differ only in seed.

    - `runs`: run folders, and folders that have run folders directly inside.
    - `reach`: the return that variants are timed to; if not given, 90 % of the way from the
      lowest first evaluation of any run to the best variant's final return.

    Raises `BadRun` for runs that are missing, not finished or not comparable, `BadCheckpoint` for
    files that cannot be read, `BadValue` for a `reach` that is not finite.
    """
    if reach is not None and not np.isfinite(reach):
        raise BadValue(f"reach is {reach}: it must be a finite return")
    found = [read(path) for path in folders([runs] if isinstance(runs, str | Path) else runs)]
    if not found:
        raise BadRun("no runs to compare: name run folders, or folders that contain run folders")
    for run in found[1:]:
        _refuse_if_not_comparable(found[0], run)
    groups: dict[Setting, list[Run]] = {}
    for run in found:
        group = groups.setdefault(Setting.of(run.config, run.agent, run.method), [])
        for other in group:
            if other.config.seed == run.config.seed:
                raise BadRun(
                    f"{other.path} and {run.path} are the same variant with the same seed "
                    f"{run.config.seed}: leave one out"
                )
        group.append(run)
    config = found[0].config
    if reach is None:
        reach, meaning = _nearly_best(list(groups.values()))
    else:
        meaning = "as asked"
    names = labels(list(groups))
    variants = tuple(
        _summed_up(name, sorted(group, key=lambda run: run.config.seed), reach)
        for name, group in zip(names, groups.values(), strict=True)
    )
    return Comparison(
        config.env, config.steps, reach, meaning, variants, _notes(variants, list(groups))
    )


def _refuse_if_not_comparable(one: Run, other: Run) -> None:
    for field, way_out in MUST_AGREE.items():
        values = getattr(one.config, field), getattr(other.config, field)
        if values[0] != values[1]:
            raise BadRun(
                f"{one.path} and {other.path} cannot be compared: {field} is {values[0]} in the "
                f"first and {values[1]} in the second. {way_out}"
            )


def _nearly_best(groups: list[list[Run]]) -> tuple[float, str]:
    """A return that most learners come to, and what it is. A share of the best return itself
    would be out of reach where returns are negative."""
    first = min(run.returns[0] for run in chain(*groups))
    best = max(_iqm(group) for group in groups)
    return first + NEARLY * (best - first), (
        f"{100 * NEARLY:.0f} % of the way from the lowest first evaluation ({first:.1f}) to the "
        f"best final return ({best:.1f})"
    )


def _iqm(runs: list[Run]) -> float:
    return statistics.iqm({runs[0].config.env: [run.final_return for run in runs]})


def _summed_up(label: str, runs: list[Run], reach: float) -> Variant:
    returns = tuple(run.final_return for run in runs)
    ends = statistics.interval({runs[0].config.env: returns})
    reached = np.array([run.reaches(reach) for run in runs])
    # Of an even number of seeds, half of which never get there, the median is infinite: never.
    steps, seconds = (None if np.isinf(x) else float(x) for x in np.median(reached, axis=0))
    footprint: dict[str, Any] = {
        key: _mean([run.footprint[key] for run in runs]) for key in FOOTPRINT
    }
    return Variant(
        label=label,
        agent=agents.name_of(runs[0].agent),
        method=runs[0].method.name,
        seeds=tuple(run.config.seed for run in runs),
        final_returns=returns,
        final_return=_iqm(runs),
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        **{key: float(np.mean([run.sizes[key] for run in runs])) for key in SIZES},
        **footprint,
        steps_per_second=float(np.median([run.config.steps / run.wall_seconds for run in runs])),
        wall_seconds=float(np.median([run.wall_seconds for run in runs])),
        steps_to_reach=steps,
        seconds_to_reach=seconds,
        seeds_reaching=int(np.isfinite(reached[:, 0]).sum()),
        runs=tuple(runs),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _notes(variants: Sequence[Variant], settings: list[Setting]) -> tuple[str, ...]:
    seeds = [len(variant.seeds) for variant in variants]
    notes = []
    if max(seeds) > 1:
        notes.append("interval: 95 %, percentile bootstrap over the seeds")
    if min(seeds) == 1:
        notes.append("1 seed: no interval")
    if min(seeds) < 4:
        notes.append("with fewer than 4 seeds nothing is trimmed: the IQM is the mean")
    differ = also_differ(settings)
    if differ:
        notes.append(f"these variants also differ in: {', '.join(differ)}")
    notes.append(
        "steps/s and seconds are medians over the seeds, with evaluations; runs made side by side "
        "compete for the machine"
    )
    return tuple(notes)
