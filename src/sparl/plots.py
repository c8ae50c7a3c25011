"""Figures of a comparison. They are drawn without a window and without matplotlib's global state.

Importing this module imports matplotlib; nothing else of sparl does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sparl.comparison import Comparison, Variant

DPI = 110
STYLES = ("-", "--", ":", "-.")
"""One after the other whenever the ten colours are used up."""


def curves(comparison: Comparison) -> Figure:
    """Mean evaluation return of each variant, against steps and against wall-clock seconds.

    The band goes from the lowest to the highest seed. Seconds are the median over the seeds at the
    same step.
    """
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    against_steps, against_seconds = figure.subplots(1, 2, sharey=True)
    for i, variant in enumerate(comparison.variants):
        steps, seconds, returns = _by_seed(variant)
        for axes, x in ((against_steps, steps), (against_seconds, np.median(seconds, axis=0))):
            style = _style(i)
            axes.plot(x, returns.mean(0), label=variant.label, lw=1.4, **style)
            if len(variant.seeds) > 1:
                low, high = returns.min(0), returns.max(0)
                axes.fill_between(x, low, high, alpha=0.12, color=style["color"], lw=0)
    against_steps.set(xlabel="environment steps", ylabel="evaluation return", title=comparison.env)
    against_seconds.set(xlabel="seconds of training, evaluations included")
    for axes in (against_steps, against_seconds):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    _legend(figure, against_steps)
    return figure


def return_against_size(comparison: Comparison) -> Figure:
    """IQM of the final returns with its interval, against the kept weights of the policy."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    for i, variant in enumerate(comparison.variants):
        middle, low, high = variant.final_return, variant.low, variant.high
        ends = None if low is None or high is None else [[middle - low], [high - middle]]
        axes.errorbar(
            [variant.policy_weights_kept],
            [middle],
            yerr=ends,
            marker="o",
            capsize=3,
            label=variant.label,
            color=_style(i)["color"],
            ls="none",
        )
    axes.set_xscale("log")
    axes.set(
        xlabel="kept weights of the policy",
        ylabel="final return: IQM, 95 % interval",
        title=f"{comparison.env}, {comparison.steps:,} steps",
    )
    axes.grid(alpha=0.3, which="both")
    _legend(figure, axes)
    return figure


def _by_seed(variant: Variant) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Steps [evaluation], seconds [seed, evaluation], returns [seed, evaluation].

    Of the steps at which every seed was evaluated: a run that was prolonged has one more, where
    it once had ended.
    """
    shared = sorted(set.intersection(*(set(run.steps) for run in variant.runs)))
    at = [[run.steps.index(step) for step in shared] for run in variant.runs]
    seconds = [[run.seconds[i] for i in of] for run, of in zip(variant.runs, at, strict=True)]
    returns = [[run.returns[i] for i in of] for run, of in zip(variant.runs, at, strict=True)]
    return np.array(shared), np.array(seconds), np.array(returns)


def _style(i: int) -> dict[str, str]:
    return {"color": f"C{i % 10}", "ls": STYLES[i // 10 % len(STYLES)]}


def _legend(figure: Figure, axes: Axes) -> None:
    """Beside the plot, where it hides nothing."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
