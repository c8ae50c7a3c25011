"""The columns of a comparison, in the terminal, in Markdown, in notebooks and in the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparl.analysis.differences import Difference
from sparl.analysis.variant import Variant
from sparl.training import return_text

Column = tuple[str, Callable[[Variant], str]]
"""Heading, whose lines the terminal keeps, and what it says of a variant."""


def _return_text(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return return_text(value)


def _interval(v: Variant) -> str:
    return (
        ""
        if v.low is None or v.high is None
        else f"[{_return_text(v.low)}, {_return_text(v.high)}]"
    )


def _ratio_text(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _traffic(v: Variant) -> str:
    if v.average_weight_bytes_read is None or v.average_weight_bytes_written is None:
        return ""
    return f"{(v.average_weight_bytes_read + v.average_weight_bytes_written) / 1000:,.0f}"


def _time_text(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


COLUMNS: tuple[Column, ...] = (
    ("variant", lambda v: v.label),
    ("seeds", lambda v: str(len(v.seeds))),
    ("policy's\nreturn", lambda v: _return_text(v.policy_return)),
    ("95 %\ninterval", _interval),
    ("late\ntraining", lambda v: _return_text(v.late_return)),
    ("policy's\nweights", lambda v: f"{v.policy_weights_kept:,.0f}"),
    ("all\nweights", lambda v: f"{v.weights_kept:,.0f}"),
    ("compr.\nratio", lambda v: _ratio_text(v.average_compression_ratio)),
    ("with\nindex", lambda v: _ratio_text(v.average_compression_ratio_with_indices)),
    ("kB per\nupdate", _traffic),
    ("steps\n/s", lambda v: _time_text(v.steps_per_second)),
    ("steps to\nreach", lambda v: _time_text(v.steps_to_reach)),
    ("seconds\nto reach", lambda v: _time_text(v.seconds_to_reach)),
)


def difference_rows(differences: Sequence[Difference]) -> list[list[str]]:
    """Gives the headings and a row for each difference from one variant; nothing without any."""
    if not differences:
        return []
    headings = [f"beside {differences[0].against}", "seeds", "difference"]
    rows = [[*headings, "smallest\ntold", "better\nin", ""]]
    for found in differences:
        told = "" if found.resolution is None else _return_text(found.resolution)
        mean = _return_text(found.mean)
        signed = mean if found.mean < 0 else f"+{mean}"
        better = f"{found.probability_of_improvement:.0%}"
        rows.append([found.label, str(len(found.seeds)), signed, told, better, found.verdict])
    return rows


def headline_of(env: str, steps: int, reach: float | None, reach_meaning: str) -> str:
    """Gives the sentences above the table: environment, steps, and the return to reach."""
    said = f"{env}, {steps:,} steps. "
    if reach is None:
        return f"{said}No return to reach: {reach_meaning}."
    return f"{said}Return to reach: {reach:.1f}, {reach_meaning}."


def columns_of(variants: Sequence[Variant], timed: bool) -> list[Column]:
    """Gives the columns that say anything of these variants.

    Args:
        timed: Whether there is a return that they were to reach.
    """
    return [
        (heading, cell)
        for heading, cell in COLUMNS
        if (timed or "reach" not in heading) and any(cell(v) for v in variants)
    ]
