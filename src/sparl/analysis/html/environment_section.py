"""What stands on a page: runs by environment, with their curves and their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sparl.analysis import comparison
from sparl.analysis.comparison import Comparison
from sparl.analysis.html import charts
from sparl.analysis.html.charts import Chart, Groups, Key
from sparl.analysis.html.read_run import Shown
from sparl.analysis.html.run_section import Part, part
from sparl.analysis.plots import style
from sparl.analysis.variants import Setting, labels
from sparl.errors import SparlError

UNFINISHED = ", unfinished"


@dataclass(frozen=True)
class Environment:
    """The runs of one environment."""

    name: str
    parts: list[Part]
    legend: list[Key]
    """Variants by their colours, those that are not finished apart."""
    charts: list[Chart]
    comparison: Comparison | None
    not_compared: str
    """Why several runs are not compared."""


def environments(runs: Sequence[Shown]) -> list[Environment]:
    """All that is shown but for the films, by environment, in the order of the runs."""
    names = dict.fromkeys(run.config.env for run in runs)
    return [_environment(name, [r for r in runs if r.config.env == name]) for name in names]


def _environment(name: str, runs: list[Shown]) -> Environment:
    settings = [Setting.of(run.config, run.agent, run.method) for run in runs]
    distinct = list(dict.fromkeys(settings))
    label_of = dict(zip(distinct, labels(distinct), strict=True))
    groups: Groups = {}
    for run, setting in zip(runs, settings, strict=True):
        label = label_of[setting] + ("" if run.finished else UNFINISHED)
        groups.setdefault(label, []).append(run)
    found, refused = _compared(runs, groups)
    return Environment(
        name,
        [part(run, label_of[setting]) for run, setting in zip(runs, settings, strict=True)],
        [Key.of(label, style(i)) for i, label in enumerate(groups)],
        _charts(groups, found),
        found,
        refused,
    )


def _compared(runs: list[Shown], groups: Groups) -> tuple[Comparison | None, str]:
    """The finished ones as `sparl compare` has them, by the page's labels; or why it refuses."""
    finished = [run.path for run in runs if run.finished]
    if len(runs) < 2:
        return None, ""
    if not finished:
        return None, "none of these runs is finished"
    try:
        found = comparison.compare(finished)
    except SparlError as error:
        return None, str(error)
    label_of = {run.path: label for label, of_one in groups.items() for run in of_one}
    variants = (replace(v, label=label_of[v.runs[0].path]) for v in found.variants)
    return replace(found, variants=tuple(variants)), ""


def _charts(groups: Groups, found: Comparison | None) -> list[Chart]:
    """Those that there are numbers for."""
    runs = [run for of_one in groups.values() for run in of_one]
    shown = []
    if any(run.returns for run in runs):
        bands = any(len(of_one) > 1 for of_one in groups.values())
        note = "Mean of the seeds; the band goes from the lowest to the highest." if bands else ""
        shown += [
            Chart("Return against steps", charts.returns_against_steps(groups), note),
            Chart("Return against time", charts.returns_against_seconds(groups)),
        ]
    if found is not None and len(found.variants) > 1:
        colors = [list(groups).index(variant.label) for variant in found.variants]
        drawing = charts.returns_against_size(found.variants, colors)
        shown.append(Chart("Return against size", drawing, "Of the final policies."))
    if any(run.newest("compression_ratio") is not None for run in runs):
        dotted = any("compression_ratio_with_indices" in run.metrics for run in runs)
        indices = "; dotted, with indices" if dotted else ""
        note = f"1 - stored / dense, of all weights that training holds{indices}."
        shown.append(Chart("Compression over time", charts.compression(groups), note))
    if any(run.newest("steps_per_second") is not None for run in runs):
        note = "Once learning has begun; with evaluations and compiling."
        shown.append(Chart("Speed over time", charts.speed(groups), note))
    return shown
