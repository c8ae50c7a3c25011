"""Charts as SVG inside the report, in the report's own colours, light or dark.

matplotlib draws in placeholder colours, which are then replaced by `currentColor` and the style
sheet's variables. Charts contain no text of the user's, because legends and captions are HTML. So
nothing in them can be mistaken for mathematics or markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from sparl.analysis import plots
from sparl.analysis.html.read_run import Columns, ReadRun
from sparl.analysis.variant import Variant

INK, GRID = "#010203", "#010204"
SERIES = tuple(f"#0102{0xF0 + i:x}" for i in range(10))
PLACEHOLDERS = {INK: "currentColor", GRID: "var(--grid)"} | {
    color: f"var(--series-{i})" for i, color in enumerate(SERIES)
}
"""Colours that nothing else has, and what they are replaced by."""

DASHES = {"-": "", "--": "5 3", ":": "1.5 2.5", "-.": "6 2 1.5 2"}
"""Dash patterns of SVG for matplotlib's line styles, for legends."""

COMPRESSION = {"compression_ratio": "-", "compression_ratio_with_indices": ":"}
"""Columns of metrics.csv, and the line styles that they are drawn in."""

SPEED_INTERVALS = 50
"""Intervals of a run over which speed is averaged; between single rows it varies too much."""

LARGE, SMALL = (4.4, 2.75), (2.9, 1.6)
"""Sizes of charts in inches of 72 units; the report scales a chart to the available width."""

MATPLOTLIB_STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.color": GRID,
    "svg.fonttype": "none",
    "svg.hashsalt": "sparl",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class LegendEntry:
    """An entry of a legend."""

    label: str
    color: int
    """Number of the report's colour."""
    dashes: str
    """Dash pattern of SVG."""

    @classmethod
    def of(cls, label: str, style: dict[str, Any]) -> LegendEntry:
        """Gives the entry of a line that is drawn in a style of `plots.style`."""
        return cls(label, int(style["color"].removeprefix("C")), DASHES[style["ls"]])


@dataclass(frozen=True)
class Chart:
    """A chart with its caption."""

    title: str
    drawing: Markup
    note: str = ""
    legend: tuple[LegendEntry, ...] = ()


Groups = dict[str, list[ReadRun]]
"""Runs by their labels; the i-th label has the i-th colour."""


def returns_against_steps(groups: Groups) -> Markup:
    """Draws evaluation returns against environment steps."""

    def draw(axes: Axes) -> None:
        plots.draw_returns(axes, groups, "steps")
        _ticks(axes)

    return _svg(draw, f"Evaluation return against environment steps. {_ends(groups)}")


def returns_against_seconds(groups: Groups) -> Markup:
    """Draws evaluation returns against seconds of training."""

    def draw(axes: Axes) -> None:
        plots.draw_returns(axes, groups, "seconds")
        axes.set(xlabel="seconds")
        _ticks(axes)

    return _svg(draw, f"Evaluation return against seconds of training. {_ends(groups)}")


def returns_against_size(variants: Sequence[Variant], colors: Sequence[int]) -> Markup:
    """Draws final returns against the policy's kept weights.

    Args:
        variants: Of one comparison.
        colors: Number of each variant's colour.
    """

    def draw(axes: Axes) -> None:
        plots.draw_sizes(axes, dict(zip(colors, variants, strict=True)))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(plots.short)
        axes.minorticks_off()
        axes.grid(alpha=1.0)

    points = (
        f"{v.label}: {v.policy_return:.1f} with {v.policy_weights_kept:.0f}" for v in variants
    )
    return _svg(draw, "The policy's return against its kept weights. " + "; ".join(points))


def compression(groups: Groups) -> Markup:
    """Draws the compression ratio of all networks over training; dotted, with indices."""

    def draw(axes: Axes) -> None:
        for i, runs in enumerate(groups.values()):
            for run in runs:
                for column, dashes in COMPRESSION.items():
                    if column in run.metrics:
                        x, y = run.metrics["step"], run.metrics[column]
                        color = plots.style(i)["color"]
                        axes.plot(x, y, lw=1.2, color=color, ls=dashes)
        # With indices the ratio may be negative: they may take more than sparsity saves.
        lowest = min(0.0, axes.dataLim.ymin) - 0.03
        axes.set(xlabel="environment steps", ylabel="compression ratio", ylim=(lowest, 1.03))
        _ticks(axes)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))

    newest = (f"{label}: {_newest(runs, 'compression_ratio')}" for label, runs in groups.items())
    return _svg(draw, "Compression ratio against environment steps. " + "; ".join(newest))


def speed(groups: Groups) -> Markup:
    """Draws steps per second from the first update on; random steps before are far faster."""

    def draw(axes: Axes) -> None:
        for i, runs in enumerate(groups.values()):
            for run in runs:
                axes.plot(*_speed(run), lw=1.2, **plots.style(i))
        axes.set(xlabel="environment steps", ylabel="steps/s")
        axes.set_ylim(bottom=0)
        _ticks(axes)

    newest = (f"{label}: {_newest(runs, 'steps_per_second')}" for label, runs in groups.items())
    return _svg(draw, "Steps per second against environment steps. " + "; ".join(newest))


def _speed(run: ReadRun) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gives steps, and the steps per second of the interval before each."""
    needed = [run.metrics.get(name) for name in ("step", "wall_seconds", "updates")]
    if any(values is None for values in needed):
        return np.empty(0), np.empty(0)
    step, seconds, updates = (np.asarray(values) for values in needed)
    ends = np.flatnonzero(updates > 0)[:: max(1, len(step) // SPEED_INTERVALS)]
    return step[ends[1:]], np.diff(step[ends]) / np.diff(seconds[ends])


def series(table: Columns, names: Sequence[str], alt: str, jumps: bool = True) -> Markup:
    """Draws a small chart of columns of one table against its steps.

    The lines often coincide, so each has a line style of its own.

    Args:
        table: Has the column `step`.
        names: Columns to draw.
        alt: Description for readers who cannot see the chart.
        jumps: Whether values stay until the next step that the table has.
    """

    def draw(axes: Axes) -> None:
        for i, name in enumerate(names):
            drawn: Any = "steps-post" if jumps else "default"
            axes.plot(table["step"], table[name], lw=1.2, drawstyle=drawn, **distinct_style(i))
        _ticks(axes)
        axes.yaxis.set_major_formatter(plots.short)
        axes.yaxis.set_major_locator(MaxNLocator(4))

    return _svg(draw, alt, SMALL)


def distinct_style(i: int) -> dict[str, Any]:
    """Gives colour and line style of the i-th of a few lines that may coincide."""
    return plots.style(i) | {"ls": plots.STYLES[i % len(plots.STYLES)]}


def _ticks(axes: Axes) -> None:
    axes.grid(alpha=1.0)  # its colour is light enough
    plots.ticks_to_the_end(axes, 5)
    axes.xaxis.set_major_formatter(plots.short)


def _ends(groups: Groups) -> str:
    """Describes where curves begin and end, for readers who cannot see them."""
    descriptions = []
    for label, runs in groups.items():
        for run in runs:
            if run.returns:
                ends = f"{run.returns[0]:.1f} to {run.returns[-1]:.1f}"
                descriptions.append(f"{label}, seed {run.config.seed}: {ends}")
    return "; ".join(descriptions)


def _newest(runs: list[ReadRun], column: str) -> str:
    newest = [value for run in runs if (value := run.newest(column)) is not None]
    return ", ".join(f"{value:.3g}" for value in newest) + " at the end" if newest else "none"


def _svg(draw: Callable[[Axes], None], alt: str, size: tuple[float, float] = LARGE) -> Markup:
    """Gives what `draw` draws as an <svg> for HTML. The same drawing gives the same text."""
    with mpl.rc_context(MATPLOTLIB_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    body = body[body.index(">", body.index("<svg")) + 1 :]
    # Ids must be unique in the report. An id that is referred to is a hash of what it names, so
    # equal ids name equal things. The other ids only number the parts of one drawing.
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", body)
    for placeholder, color in PLACEHOLDERS.items():
        body = body.replace(placeholder, color)
    return Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1], alt) + Markup(
        body
    )
