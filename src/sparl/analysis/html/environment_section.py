"""The report's section of one environment: its runs with their curves and their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sparl.analysis import comparison
from sparl.analysis.comparison import Comparison
from sparl.analysis.html import charts
from sparl.analysis.html.charts import Chart, Groups, LegendEntry
from sparl.analysis.html.read_run import ReadRun
from sparl.analysis.html.run_section import RunSection, run_section
from sparl.analysis.plots import style
from sparl.analysis.variants import VariantConfig, labels_of
from sparl.errors import SparlError

UNFINISHED = ", unfinished"
"""Added to the label of a variant's runs that are not finished."""


@dataclass(frozen=True)
class EnvironmentSection:
    """What the report shows of one environment."""

    name: str
    run_sections: list[RunSection]
    legend: list[LegendEntry]
    """Variants with their colours; unfinished runs of a variant have an entry of their own."""
    charts: list[Chart]
    comparison: Comparison | None
    not_compared: str
    """Why several runs are not compared; empty if they are, or if there is one run."""


class _Compared(NamedTuple):
    """A comparison, or the reason why there is none."""

    comparison: Comparison | None
    refusal: str


def environment_sections(runs: Sequence[ReadRun]) -> list[EnvironmentSection]:
    """Gives everything the report shows except films, by environment, in the order of the runs."""
    names = dict.fromkeys(run.config.env for run in runs)
    return [_section(name, [r for r in runs if r.config.env == name]) for name in names]


def _section(name: str, runs: list[ReadRun]) -> EnvironmentSection:
    variants = [VariantConfig.of(run.config, run.agent, run.method, run.changes) for run in runs]
    paths: dict[VariantConfig, list[Path]] = {}
    for run, variant in zip(runs, variants, strict=True):
        paths.setdefault(variant, []).append(run.path)
    label_of = dict(zip(paths, labels_of(paths), strict=True))
    groups: Groups = {}
    for run, variant in zip(runs, variants, strict=True):
        label = label_of[variant] + ("" if run.finished else UNFINISHED)
        groups.setdefault(label, []).append(run)
    compared, refusal = _compare(runs, groups)
    return EnvironmentSection(
        name,
        [run_section(run, label_of[variant]) for run, variant in zip(runs, variants, strict=True)],
        [LegendEntry.of(label, style(i)) for i, label in enumerate(groups)],
        _charts(groups, compared),
        compared,
        refusal,
    )


def _compare(runs: list[ReadRun], groups: Groups) -> _Compared:
    """Compares the finished runs as `sparl compare` does, with the labels of the report."""
    finished = [run.path for run in runs if run.finished]
    if len(runs) < 2:
        return _Compared(None, "")
    if not finished:
        return _Compared(None, "none of these runs is finished")
    try:
        compared = comparison.compare(finished)
    except SparlError as error:
        return _Compared(None, str(error))
    label_of = {run.path: label for label, group in groups.items() for run in group}
    return _Compared(compared.named([label_of[v.runs[0].path] for v in compared.variants]), "")


def _charts(groups: Groups, compared: Comparison | None) -> list[Chart]:
    """Gives the charts for which the runs have numbers."""
    runs = [run for group in groups.values() for run in group]
    drawn = []
    if any(run.returns for run in runs):
        bands = any(len(group) > 1 for group in groups.values())
        note = "A dot marks the best evaluation."
        if bands:
            note = "Mean over the seeds; the band spans all seeds. A dot marks the best mean."
        drawn += [
            Chart("Return against steps", charts.returns_against_steps(groups), note),
            Chart("Return against time", charts.returns_against_seconds(groups)),
        ]
    if compared is not None and len(compared.variants) > 1:
        colors = [list(groups).index(variant.label) for variant in compared.variants]
        drawing = charts.returns_against_size(compared.variants, colors)
        drawn.append(Chart("Return against size", drawing, "Of the final policies."))
    if any(run.newest("compression_ratio") is not None for run in runs):
        dotted = any("compression_ratio_with_indices" in run.metrics for run in runs)
        indices = "; dotted: with indices" if dotted else ""
        note = f"1 - stored / dense, of all weights that training holds{indices}."
        drawn.append(Chart("Compression over time", charts.compression(groups), note))
    if any(run.newest("steps_per_second") is not None for run in runs):
        note = "From the first update on; includes evaluations and compilation."
        drawn.append(Chart("Speed over time", charts.speed(groups), note))
    return drawn
