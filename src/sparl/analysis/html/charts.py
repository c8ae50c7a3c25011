"""Charts as SVG that lies in the page itself: its colours are the page's, light or dark.

matplotlib draws in stand-in colours, which then become `currentColor` and the style sheet's
variables. No text of the user's goes into a chart (legends and captions are HTML), so there is
nothing in it that could be taken for mathematics or markup.
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
from sparl.analysis.comparison import Variant
from sparl.analysis.html.read_run import Columns, Shown

INK, GRID = "#010203", "#010204"
SERIES = tuple(f"#0102{0xF0 + i:x}" for i in range(10))
STAND_INS = {INK: "currentColor", GRID: "var(--grid)"} | {
    color: f"var(--series-{i})" for i, color in enumerate(SERIES)
}
"""Colours that nothing else has, and what they become."""

DASHES = {"-": "", "--": "5 3", ":": "1.5 2.5", "-.": "6 2 1.5 2"}
"""matplotlib's line styles as SVG has them, for legends."""

COMPRESSION = {"compression_ratio": "-", "compression_ratio_with_indices": ":"}
"""Columns of metrics.csv, and how they are drawn."""

STRETCHES = 50
"""Parts of a run over which its speed is averaged: from row to row it jumps."""

LARGE, SMALL = (4.4, 2.75), (2.9, 1.6)
"""Inches, at 72 units each; the page scales a chart to the width that it has."""

STYLE: Any = {
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
class Key:
    """An entry of a legend: the page's n-th colour, and the dashes of its line."""

    label: str
    color: int
    dashes: str

    @classmethod
    def of(cls, label: str, look: dict[str, Any]) -> Key:
        """`look`: of `plots.style`."""
        return cls(label, int(look["color"].removeprefix("C")), DASHES[look["ls"]])


@dataclass(frozen=True)
class Chart:
    title: str
    drawing: Markup
    note: str = ""
    legend: tuple[Key, ...] = ()


Groups = dict[str, list[Shown]]
"""Runs by their label; the i-th label has the i-th colour."""


def returns_against_steps(groups: Groups) -> Markup:
    def draw(axes: Axes) -> None:
        plots.draw_returns(axes, groups, "steps")
        _ticks(axes)

    return _svg(draw, f"Evaluation return against environment steps. {_ends(groups)}")


def returns_against_seconds(groups: Groups) -> Markup:
    def draw(axes: Axes) -> None:
        plots.draw_returns(axes, groups, "seconds")
        axes.set(xlabel="seconds")
        _ticks(axes)

    return _svg(draw, f"Evaluation return against seconds of training. {_ends(groups)}")


def returns_against_size(variants: Sequence[Variant], colors: Sequence[int]) -> Markup:
    """`colors`: which of the page's colours each variant has."""

    def draw(axes: Axes) -> None:
        plots.draw_sizes(axes, dict(zip(colors, variants, strict=True)))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(_short)
        axes.minorticks_off()
        axes.grid(alpha=1.0)

    told = (f"{v.label}: {v.final_return:.1f} with {v.policy_weights_kept:.0f}" for v in variants)
    return _svg(draw, "Final return against the policy's kept weights. " + "; ".join(told))


def compression(groups: Groups) -> Markup:
    """Of all networks, while they train; dotted with what indices take."""

    def draw(axes: Axes) -> None:
        for i, runs in enumerate(groups.values()):
            for run in runs:
                for column, dashes in COMPRESSION.items():
                    if column in run.metrics:
                        x, y = run.metrics["step"], run.metrics[column]
                        color = plots.style(i)["color"]
                        axes.plot(x, y, lw=1.2, color=color, ls=dashes)
        # Indices may take more than what is left out saves.
        lowest = min(0.0, axes.dataLim.ymin) - 0.03
        axes.set(xlabel="environment steps", ylabel="left out of memory", ylim=(lowest, 1.03))
        _ticks(axes)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))

    now = (f"{label}: {_newest(runs, 'compression_ratio')}" for label, runs in groups.items())
    return _svg(draw, "Compression ratio against environment steps. " + "; ".join(now))


def speed(groups: Groups) -> Markup:
    """Steps per second while there are updates: random steps before are many times faster."""

    def draw(axes: Axes) -> None:
        for i, runs in enumerate(groups.values()):
            for run in runs:
                axes.plot(*_speed(run), lw=1.2, **plots.style(i))
        axes.set(xlabel="environment steps", ylabel="steps/s")
        axes.set_ylim(bottom=0)
        _ticks(axes)

    now = (f"{label}: {_newest(runs, 'steps_per_second')}" for label, runs in groups.items())
    return _svg(draw, "Steps per second against environment steps. " + "; ".join(now))


def _speed(run: Shown) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps, and steps per second of the stretch before each, about `STRETCHES` of them."""
    needed = [run.metrics.get(name) for name in ("step", "wall_seconds", "updates")]
    if any(values is None for values in needed):
        return np.empty(0), np.empty(0)
    step, seconds, updates = (np.asarray(values) for values in needed)
    begun = np.flatnonzero(updates > 0)[:: max(1, len(step) // STRETCHES)]
    return step[begun[1:]], np.diff(step[begun]) / np.diff(seconds[begun])


def series(table: Columns, names: Sequence[str], alt: str) -> Markup:
    """Some columns of one table against its steps, small. They often lie on each other: every line
    has dashes of its own."""

    def draw(axes: Axes) -> None:
        for i, name in enumerate(names):
            look = distinct(i)
            axes.plot(table["step"], table[name], lw=1.2, drawstyle="steps-post", **look)
        _ticks(axes)
        axes.yaxis.set_major_formatter(_short)
        axes.yaxis.set_major_locator(MaxNLocator(4))

    return _svg(draw, alt, SMALL)


def distinct(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th of a few lines that may lie on each other."""
    return plots.style(i) | {"ls": plots.STYLES[i % len(plots.STYLES)]}


def _short(number: float, position: Any = None) -> str:
    """A tick's label."""
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:g}{sign}"
    return f"{number:g}"


def _ticks(axes: Axes) -> None:
    axes.grid(alpha=1.0)  # of a colour that is light enough
    axes.xaxis.set_major_formatter(_short)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _ends(groups: Groups) -> str:
    """For who cannot see the curves: where they begin and end."""
    found = []
    for label, runs in groups.items():
        for run in runs:
            if run.returns:
                ends = f"{run.returns[0]:.1f} to {run.returns[-1]:.1f}"
                found.append(f"{label}, seed {run.config.seed}: {ends}")
    return "; ".join(found)


def _newest(runs: list[Shown], column: str) -> str:
    newest = [value for run in runs if (value := run.newest(column)) is not None]
    return ", ".join(f"{value:.3g}" for value in newest) + " at the end" if newest else "none"


def _svg(draw: Callable[[Axes], None], alt: str, size: tuple[float, float] = LARGE) -> Markup:
    """What `draw` draws, as an <svg> for HTML. The same drawing gives the same text."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    body = body[body.index(">", body.index("<svg")) + 1 :]
    # Ids are unique in a page: those that something refers to are of what they name, and the
    # same wherever they stand; the others only number the parts of one drawing.
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", body)
    for stand_in, color in STAND_INS.items():
        body = body.replace(stand_in, color)
    return Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1], alt) + Markup(
        body
    )
