"""Figures of a comparison, drawn without a window and without matplotlib's global state.

Importing this module imports matplotlib. Besides this module, only the HTML report does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sparl.analysis.comparison import Comparison
from sparl.analysis.variant import Variant

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
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    against_steps, against_seconds = figure.subplots(1, 2, sharey=True)
    groups = {variant.label: variant.runs for variant in comparison.variants}
    draw_returns(against_steps, groups, "steps")
    draw_returns(against_seconds, groups, "seconds")
    against_steps.set(title=comparison.env)
    against_seconds.set(ylabel=None)
    _legend(figure, against_steps)
    return figure


def return_against_size(comparison: Comparison) -> Figure:
    """Plots the IQM of the final returns, with its interval, against the policy's kept weights."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    draw_sizes(axes, dict(enumerate(comparison.variants)))
    axes.set(title=f"{comparison.env}, {comparison.steps:,} steps")
    _legend(figure, axes)
    return figure


def draw_returns(
    axes: Axes, groups: Mapping[str, Sequence[EvaluatedRun]], against: Literal["steps", "seconds"]
) -> None:
    """Draws the mean evaluation return over the seeds of each group.

    The band goes from the lowest to the highest seed. Seconds are the median over the seeds at the
    same step.

    Args:
        axes: Where to draw.
        groups: Runs of one variant each, by label; the i-th has the i-th colour.
        against: What the x axis shows.
    """
    for i, (label, runs) in enumerate(groups.items()):
        steps, seconds, returns = _shared_evaluations(runs)
        x = steps if against == "steps" else np.median(seconds, axis=0)
        axes.plot(x, returns.mean(0), label=label, lw=1.4, **style(i))
        if len(runs) > 1:
            low, high = returns.min(0), returns.max(0)
            axes.fill_between(x, low, high, alpha=0.12, color=style(i)["color"], lw=0)
    seconds = "seconds of training, evaluations included"
    axes.set(xlabel="environment steps" if against == "steps" else seconds)
    axes.set(ylabel="evaluation return")
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(6))


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
    axes.set(xlabel="kept weights of the policy", ylabel="return of the policy: IQM, 95 % interval")
    axes.grid(alpha=0.3, which="both")


class SharedEvaluations(NamedTuple):
    """Evaluations at the steps at which every seed was evaluated."""

    steps: NDArray[Any]
    """[evaluation]"""
    seconds: NDArray[Any]
    """[seed, evaluation]"""
    returns: NDArray[Any]
    """[seed, evaluation]"""


def _shared_evaluations(runs: Sequence[EvaluatedRun]) -> SharedEvaluations:
    # A prolonged run has one evaluation that others lack, where it had once ended.
    shared = sorted(set.intersection(*(set(run.steps) for run in runs)))
    indices = [[run.steps.index(step) for step in shared] for run in runs]
    seconds = [[run.seconds[i] for i in chosen] for run, chosen in zip(runs, indices, strict=True)]
    returns = [[run.returns[i] for i in chosen] for run, chosen in zip(runs, indices, strict=True)]
    return SharedEvaluations(np.array(shared), np.array(seconds), np.array(returns))


def style(i: int) -> dict[str, Any]:
    """Gives colour and line style of the i-th line, as arguments of matplotlib."""
    return {"color": f"C{i % 10}", "ls": STYLES[i // 10 % len(STYLES)]}


def _legend(figure: Figure, axes: Axes) -> None:
    """Puts the legend beside the plot, where it hides nothing."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
