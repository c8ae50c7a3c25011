"""Figures of a comparison. They are drawn without a window and without matplotlib's global state.

Importing this module imports matplotlib; of the rest of sparl only what makes a page does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sparl.analysis.comparison import Comparison, Variant

DPI = 110
STYLES = ("-", "--", ":", "-.")
"""One after the other whenever the ten colours are used up."""


@runtime_checkable
class Evaluated(Protocol):
    """What of a run is drawn: its evaluations in order, as `runs.Run` has them."""

    @property
    def steps(self) -> tuple[int, ...]: ...
    @property
    def seconds(self) -> tuple[float, ...]: ...
    @property
    def returns(self) -> tuple[float, ...]: ...


def curves(comparison: Comparison) -> Figure:
    """Mean evaluation return of each variant, against steps and against wall-clock seconds."""
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
    """IQM of the final returns with its interval, against the kept weights of the policy."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    draw_sizes(axes, dict(enumerate(comparison.variants)))
    axes.set(title=f"{comparison.env}, {comparison.steps:,} steps")
    _legend(figure, axes)
    return figure


def draw_returns(
    axes: Axes, groups: Mapping[str, Sequence[Evaluated]], against: Literal["steps", "seconds"]
) -> None:
    """Mean evaluation return of each group of seeds, by their label.

    The band goes from the lowest to the highest seed. Seconds are the median over the seeds at the
    same step.
    """
    for i, (label, runs) in enumerate(groups.items()):
        steps, seconds, returns = _by_seed(runs)
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
    """IQM of the final returns with its interval, against the kept weights of the policy.

    Variants come by the number of their colour.
    """
    for i, variant in variants.items():
        middle, low, high = variant.final_return, variant.low, variant.high
        ends = None if low is None or high is None else [[middle - low], [high - middle]]
        axes.errorbar(
            [variant.policy_weights_kept],
            [middle],
            yerr=ends,
            marker="o",
            capsize=3,
            label=variant.label,
            color=style(i)["color"],
            ls="none",
        )
    axes.set_xscale("log")
    axes.set(xlabel="kept weights of the policy", ylabel="final return: IQM, 95 % interval")
    axes.grid(alpha=0.3, which="both")


def _by_seed(runs: Sequence[Evaluated]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Steps [evaluation], seconds [seed, evaluation], returns [seed, evaluation].

    Of the steps at which every seed was evaluated: a run that was prolonged has one more, where
    it once had ended.
    """
    shared = sorted(set.intersection(*(set(run.steps) for run in runs)))
    at = [[run.steps.index(step) for step in shared] for run in runs]
    seconds = [[run.seconds[i] for i in of] for run, of in zip(runs, at, strict=True)]
    returns = [[run.returns[i] for i in of] for run, of in zip(runs, at, strict=True)]
    return np.array(shared), np.array(seconds), np.array(returns)


def style(i: int) -> dict[str, Any]:
    """Colour and dashes of the i-th line."""
    return {"color": f"C{i % 10}", "ls": STYLES[i // 10 % len(STYLES)]}


def _legend(figure: Figure, axes: Axes) -> None:
    """Beside the plot, where it hides nothing."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
