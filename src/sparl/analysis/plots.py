"""Figures of a comparison, drawn without a window and without matplotlib's global state.

Importing this module imports matplotlib. Besides this module, only the HTML report does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sparl.analysis.comparison import Comparison
from sparl.analysis.variant import Variant

SERIES = (
    *("#1f6fb4", "#c8590b", "#1d8348", "#8e44ad", "#c2334d"),
    *("#94690a", "#0b7f88", "#6b5b4b", "#c22f88", "#5b6673"),
)
"""Colours of lines: those of the report on a light page."""
LOOK: Any = {
    "axes.edgecolor": "#586174",
    "axes.labelcolor": "#1b2230",
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": "#e3e7ee",
    "text.color": "#1b2230",
    "xtick.color": "#586174",
    "ytick.color": "#586174",
}
"""How saved figures look: as the charts of the report."""
LETTERS = 0.045
"""Height of a letter as a share of the axes' height."""
DPI = 110
"""Resolution of saved figures."""
STYLES = ("-", "--", ":", "-.")
"""Line styles; the next one is taken whenever the ten colours are used up."""


@runtime_checkable
class EvaluatedRun(Protocol):
    """What a plot needs of a run: its evaluations in order, as in `runs.FinishedRun`."""

    @property
    def steps(self) -> tuple[int, ...]: ...
    @property
    def seconds(self) -> tuple[float, ...]: ...
    @property
    def returns(self) -> tuple[float, ...]: ...


def curves(comparison: Comparison) -> Figure:
    """Plots mean evaluation returns of each variant against steps and wall-clock seconds."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(12, 4.8), layout="constrained")
        against_steps, against_seconds = figure.subplots(1, 2, sharey=True)
        groups = {variant.label: variant.runs for variant in comparison.variants}
        draw_returns(against_steps, groups, "steps")
        draw_returns(against_seconds, groups, "seconds")
        against_steps.set(title=comparison.env)
        against_seconds.set(ylabel=None)
        for axes in (against_steps, against_seconds):
            axes.xaxis.set_major_formatter(short)
        _name_lines(against_seconds if len(groups) > 1 else against_steps, groups)
    return figure


def return_against_size(comparison: Comparison) -> Figure:
    """Plots the IQM of the policies' returns, with its interval, against their kept weights."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        axes = figure.subplots()
        draw_sizes(axes, dict(enumerate(comparison.variants)))
        axes.set(title=f"{comparison.env}, {comparison.steps:,} steps")
        axes.margins(x=0.25)
        _name_all(
            axes,
            [
                (v.policy_return, v.policy_weights_kept, v.label, style(i)["color"])
                for i, v in enumerate(comparison.variants)
            ],
        )
    return figure


def profiles(comparison: Comparison) -> Figure:
    """Plots the share of each variant's runs whose policies return more than so much.

    The performance profile of 2108.13264: a line that is above another everywhere is the better
    one, whatever return is asked for.
    """
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        axes = figure.subplots()
        every = [value for variant in comparison.variants for value in variant.policy_returns]
        for i, variant in enumerate(comparison.variants):
            values = sorted(variant.policy_returns)
            shares = 1.0 - np.arange(len(values) + 1) / len(values)
            x, y = [min(every), *values, max(every)], [*shares, 0.0]
            axes.plot(x, y, drawstyle="steps-post", lw=1.4, label=variant.label, **style(i))
        axes.set(title=comparison.env, xlabel="return of the policy")
        axes.set(ylabel="share of runs above it", ylim=(0.0, 1.05))
        axes.grid()
        axes.legend(frameon=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the look that it was drawn in."""
    with mpl.rc_context(LOOK):  # colours are looked up when a figure is saved
        figure.savefig(path, dpi=DPI)


def _name_lines(axes: Axes, groups: Mapping[str, Any]) -> None:
    """Writes the name of each line where the axes end, at the height where the line does."""
    end, named = axes.get_xlim()[1], []
    for i, label in enumerate(groups):
        line = next(line for line in axes.lines if line.get_label() == label)
        heights = np.asarray(line.get_ydata(), float)
        if len(heights):
            named.append((float(heights[-1]), end, label, style(i)["color"]))
    _name_all(axes, named)


def _name_all(axes: Axes, named: Sequence[tuple[float, float, str, str]]) -> None:
    """Writes names to the right of their places, as far apart as letters are high.

    Args:
        named: Height, place on the x axis, name and colour of each.
    """
    low, high = axes.get_ylim()
    at = -np.inf
    for height, x, label, color in sorted(named):
        at = max(height, at + LETTERS * (high - low))
        axes.annotate(
            label,
            (x, at),
            xytext=(7, 0),
            textcoords="offset points",
            color=color,
            va="center",
            annotation_clip=False,
            parse_math=False,  # what users call variants is text
        )


def short(number: float, position: Any = None) -> str:
    """Writes the label of a tick: 1500 as 1.5k."""
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:.4g}{sign}"
    return f"{number:.4g}"


def draw_returns(
    axes: Axes, groups: Mapping[str, Sequence[EvaluatedRun]], against: Literal["steps", "seconds"]
) -> None:
    """Draws the mean evaluation return over the seeds of each group.

    The band goes from the lowest to the highest seed, a dot marks the best mean. Seconds are the
    median over the seeds at the same step.

    Args:
        axes: Where to draw.
        groups: Runs of one variant each, by label; the i-th has the i-th colour.
        against: What the x axis shows.
    """
    for i, (label, runs) in enumerate(groups.items()):
        steps, seconds, returns = _shared_evaluations(runs)
        x, mean = steps if against == "steps" else np.median(seconds, axis=0), returns.mean(0)
        axes.plot(x, mean, label=label, lw=1.4, **style(i))
        if len(mean):
            best = int(mean.argmax())
            dot = {"marker": "o", "ms": 4, "ls": "none", "clip_on": False}
            color = style(i)["color"]
            axes.plot(x[best], mean[best], label=f"_best of {label}", color=color, **dot)
        if len(runs) > 1:
            low, high = returns.min(0), returns.max(0)
            axes.fill_between(x, low, high, alpha=0.12, color=style(i)["color"], lw=0)
    seconds = "seconds of training, evaluations included"
    axes.set(xlabel="environment steps" if against == "steps" else seconds)
    axes.set(ylabel="evaluation return")
    axes.grid()
    ticks_to_the_end(axes, 6)


def ticks_to_the_end(axes: Axes, most: int) -> None:
    """Lets the x axis begin at 0 and end, with a tick, where the last line does.

    Args:
        most: Intervals between ticks.
    """
    end = axes.dataLim.xmax
    if not np.isfinite(end) or end <= 0:
        return
    ticks = [tick for tick in MaxNLocator(most).tick_values(0.0, end) if 0 <= tick <= end]
    apart = (ticks[1] - ticks[0]) * 0.6 if len(ticks) > 1 else end
    axes.set_xlim(0.0, end)
    axes.set_xticks([*(tick for tick in ticks if end - tick >= apart), end])


def draw_sizes(axes: Axes, variants: Mapping[int, Variant]) -> None:
    """Draws the IQM of the final returns, with its interval, against the policy's kept weights.

    Args:
        axes: Where to draw.
        variants: By the number of their colour.
    """
    for i, variant in variants.items():
        middle, low, high = variant.policy_return, variant.low, variant.high
        distances = None if low is None or high is None else [[middle - low], [high - middle]]
        axes.errorbar(
            [variant.policy_weights_kept],
            [middle],
            yerr=distances,
            marker="o",
            capsize=3,
            label=variant.label,
            color=style(i)["color"],
            ls="none",
        )
    axes.set_xscale("log")
    axes.set(xlabel="kept weights of the policy", ylabel="return: IQM, 95 % interval")
    axes.grid()


class SharedEvaluations(NamedTuple):
    """Evaluations at the steps at which any seed was evaluated; of others their newest by then."""

    steps: NDArray[Any]
    """[evaluation]"""
    seconds: NDArray[Any]
    """[seed, evaluation]"""
    returns: NDArray[Any]
    """[seed, evaluation]"""


def _shared_evaluations(runs: Sequence[EvaluatedRun]) -> SharedEvaluations:
    # Evaluations may wait for the end of an episode, and a run may have ended before others.
    begun = max(run.steps[0] if run.steps else np.inf for run in runs)
    shared = [s for s in sorted(set(chain(*(run.steps for run in runs)))) if s >= begun]
    indices = [np.searchsorted(run.steps, shared, side="right") - 1 for run in runs]
    seconds = [[run.seconds[i] for i in chosen] for run, chosen in zip(runs, indices, strict=True)]
    returns = [[run.returns[i] for i in chosen] for run, chosen in zip(runs, indices, strict=True)]
    return SharedEvaluations(np.array(shared), np.array(seconds), np.array(returns))


def style(i: int) -> dict[str, Any]:
    """Gives colour and line style of the i-th line, as arguments of matplotlib."""
    return {"color": f"C{i % 10}", "ls": STYLES[i // 10 % len(STYLES)]}
