"""Compares finished runs: reads their folders, groups them into variants, and aggregates.

Runs that differ only in their seeds are one variant. Runs that are not finished are left out. Runs
whose returns cannot be compared are refused: those of another environment, with other steps or
another evaluation, and two runs of one variant with the same seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sparl.analysis import statistics
from sparl.analysis.columns import Column, columns_of, difference_rows, headline_of
from sparl.analysis.differences import Difference, differences
from sparl.analysis.runs import FOOTPRINT, SIZES, FinishedRun, Unfinished, read, run_folders
from sparl.analysis.variant import Variant
from sparl.analysis.variants import VariantConfig, labels_of, other_differences
from sparl.errors import BadRun, BadValue
from sparl.networks import table_as_html
from sparl.storage import STEPS

REACH = 0.9
"""Where the return to reach lies between the lowest first evaluation and the best variant's return,
if none is given."""

FEW = 5
"""Seeds below which an interval of the bootstrap holds the true value clearly less often than it
says: three times of four with three seeds, half of the time with two."""

MUST_AGREE = {
    "env": "Compare each environment by itself",
    "steps": "Prolong the shorter with sparl train --resume DIR --steps N, or leave one out",
    "eval_every": "Leave one out, or train it again with the same eval_every",
    "eval_episodes": "Leave one out, or train it again with the same eval_episodes",
    "max_episode_steps": "Leave one out: longer episodes earn more",
    "eval_max_steps": "Leave one out: longer episodes earn more",
}
"""Options in which compared runs must agree, and what to do where they differ."""


@dataclass(frozen=True)
class Comparison:
    """Variants of one environment, in the order of their first runs."""

    env: str
    steps: int
    episodes: int
    """Of each evaluation."""
    reach: float | None
    """The return that `steps_to_reach` and `seconds_to_reach` of variants refer to; None where no
    variant became better than the lowest first evaluation."""
    reach_meaning: str
    """How `reach` was chosen, or why there is none, for a reader."""
    variants: tuple[Variant, ...]
    differences: tuple[Difference, ...]
    """Between each variant and one of them."""
    notes: tuple[str, ...]
    """What a reader of the figures must know, one sentence each."""

    def named(self, labels: Sequence[str]) -> Comparison:
        """The same with other labels of the variants, in their order."""
        pairs = zip(self.variants, labels, strict=True)
        variants = tuple(replace(variant, label=label) for variant, label in pairs)
        return replace(self, variants=variants, differences=differences(variants))

    def as_dict(self) -> dict[str, Any]:
        """Gives everything for JSON; runs are given by their folders."""
        content = {key: value for key, value in vars(self).items() if key != "variants"}
        content["notes"] = list(self.notes)
        content["differences"] = [difference.as_dict() for difference in self.differences]
        content["variants"] = [
            variant.figures() | {"runs": [str(run.path) for run in variant.runs]}
            for variant in self.variants
        ]
        return content

    @property
    def headline(self) -> str:
        """Environment, steps, and the return to reach, in sentences."""
        return headline_of(self.env, self.steps, self.reach, self.reach_meaning)

    @property
    def apart(self) -> list[list[str]]:
        """The headings and the rows of the table of differences; [] without any."""
        return difference_rows(self.differences)

    @property
    def columns(self) -> list[Column]:
        """Heading and cell of the columns that say anything of these variants."""
        return columns_of(self.variants, timed=self.reach is not None)

    def _repr_html_(self) -> str:
        """A table, as a notebook shows it."""
        rows = [[cell(variant) for _, cell in self.columns] for variant in self.variants]
        shown = table_as_html(self.headline, _in_lines(h for h, _ in self.columns), rows)
        if self.apart:
            shown += table_as_html("", _in_lines(self.apart[0]), self.apart[1:])
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"{shown}<ul>{notes}</ul>"


def _in_lines(headings: Iterable[str]) -> list[str]:
    return [heading.replace("\n", " ") for heading in headings]


def compare(
    runs: str | Path | Sequence[str | Path],
    *,
    reach: float | None = None,
    against: str | None = None,
) -> Comparison:
    """Compares finished runs of one environment. Runs that differ only in seed are one variant.

    Args:
        runs: Run folders, folders that contain run folders directly, and folders of sweeps.
        reach: The return to which variants are timed. If not given: 90 % of the way from the
            lowest first evaluation of any run to the best variant's return.
        against: The variant that all others are set beside, seed by seed; if not given, the one
            called `dense`, or else the first.

    Raises:
        BadRun: Runs are missing, none is finished, or they are not comparable; the message says
            what to do.
        BadFile: A file cannot be read.
        BadValue: `reach` is not finite, or there is no variant `against`.
    """
    if reach is not None and not np.isfinite(reach):
        raise BadValue(f"reach is {reach}: it must be a finite return")
    paths = run_folders([runs] if isinstance(runs, str | Path) else runs)
    finished_runs, left_out = _finished(paths)
    if not finished_runs:
        raise (
            left_out[0]
            if left_out
            else BadRun("no runs to compare: name run folders, or folders that contain run folders")
        )
    for run in finished_runs[1:]:
        _refuse_if_not_comparable(finished_runs[0], run)
    groups: dict[VariantConfig, list[FinishedRun]] = {}
    for run in finished_runs:
        variant = VariantConfig.of(run.config, run.agent, run.method, run.changes)
        group = groups.setdefault(variant, [])
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
    labels = labels_of({variant: [run.path for run in runs] for variant, runs in groups.items()})
    variants = tuple(
        _aggregate(label, sorted(group, key=lambda run: run.config.seed), reach)
        for label, group in zip(labels, groups.values(), strict=True)
    )
    notes = _notes(variants, list(groups), config.eval_episodes)
    notes = (*(f"left out: {error}" for error in left_out), *notes)
    size = (config.env, config.steps, config.eval_episodes)
    return Comparison(*size, reach, meaning, variants, differences(variants, against), notes)


def _finished(paths: Sequence[Path]) -> tuple[list[FinishedRun], list[Unfinished]]:
    """Reads the runs that are finished; gives the errors of the others."""
    finished, left_out = [], []
    for path in paths:
        try:
            finished.append(read(path))
        except Unfinished as error:
            left_out.append(error)
    return finished, left_out


def _refuse_if_not_comparable(one: FinishedRun, other: FinishedRun) -> None:
    for field, way_out in MUST_AGREE.items():
        values = getattr(one.config, field), getattr(other.config, field)
        if values[0] != values[1]:
            raise BadRun(
                f"{one.path} and {other.path} cannot be compared: {field} is {values[0]} in the "
                f"first and {values[1]} in the second. {way_out}"
            )


def _default_reach(groups: list[list[FinishedRun]]) -> tuple[float | None, str]:
    """Gives a return that most learners reach, and how it was chosen."""
    # A share of the best return itself would be out of reach where returns are negative.
    first = min(run.returns[0] for run in chain(*groups))
    best = max(_iqm([run.policy_return for run in runs]) for runs in groups)
    if best <= first:
        return None, (
            f"no variant ended above the lowest first evaluation ({first:.1f}): the best ended at "
            f"{best:.1f}"
        )
    return first + REACH * (best - first), (
        f"{100 * REACH:.0f} % of the way from the lowest first evaluation ({first:.1f}) to the "
        f"best variant's return ({best:.1f})"
    )


def _iqm(returns: Sequence[float]) -> float:
    return statistics.iqm({"": returns})


def _aggregate(label: str, runs: list[FinishedRun], reach: float | None) -> Variant:
    returns = tuple(run.policy_return for run in runs)
    late = tuple(run.late_return for run in runs)
    interval = statistics.interval({"": returns})
    reached = np.array([run.reaches(np.inf if reach is None else reach) for run in runs])
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
        policy_returns=returns,
        policy_return=_iqm(returns),
        low=None if interval is None else interval[0],
        high=None if interval is None else interval[1],
        late_returns=late,
        late_return=_iqm(late),
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


def _notes(
    variants: Sequence[Variant], configs: list[VariantConfig], episodes: int
) -> tuple[str, ...]:
    seeds = [len(variant.seeds) for variant in variants]
    of = f"{episodes} episode{'' if episodes == 1 else 's'}"
    notes = [
        f"policy's return: of the policy that each run has left, mean over {of}; late training: "
        "mean of a run's last evaluations"
    ]
    if max(seeds) > 1:
        few = min(n for n in seeds if n > 1) < FEW
        narrow = f"; of fewer than {FEW} seeds it is too narrow" if few else ""
        notes.append(f"interval: 95 %, percentile bootstrap over the seeds{narrow}")
    if min(seeds) == 1:
        notes.append("1 seed: no interval")
    if min(seeds) < 4:
        notes.append("with fewer than 4 seeds nothing is trimmed: the IQM is the mean")
    early = [run for v in variants for run in v.runs if run.ended != STEPS]
    if early:
        steps = ", ".join(f"{run.path.name} at {run.steps_made:,}" for run in early)
        notes.append(f"ended before all steps were made: {steps}")
    longer = [
        f"{run.path.name} from {change['steps'][0]:,}"
        for run in (run for v in variants for run in v.runs)
        for change in run.changes
        if "steps" in change and change["steps"][1] > change["steps"][0]
    ]
    if longer:
        notes.append(
            "prolonged, so that what methods and learning rates do over a run came earlier than in "
            f"a run of as many steps: {', '.join(longer)} steps"
        )
    others = other_differences(configs)
    if others:
        notes.append(f"these variants also differ in: {', '.join(others)}")
    if len(variants) > 1 and max(seeds) > 1:
        notes.append(
            "difference: of the policies' returns, seed by seed; none whose 95 % interval "
            "(Student's t) includes 0 is called one. better in: the share of pairs of runs"
        )
    notes.append(
        "steps/s and seconds are medians over the seeds and include evaluations; runs made side by "
        "side compete for the machine"
    )
    return tuple(notes)
