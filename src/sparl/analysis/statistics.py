"""Aggregates of returns over seeds and tasks (Agarwal et al. 2021, arXiv:2108.13264).

With few seeds, a mean depends on luck. The paper reports the interquartile mean (IQM) with an
interval from a stratified bootstrap: seeds are resampled within each task, never across tasks.
SciPy is imported where it is used, because importing it takes longer than most commands run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TRIMMED = 0.25
"""Share of the values that the IQM leaves out at each end."""

Samples = Mapping[str, Sequence[float]]
"""From each task to one value per seed. The values of all tasks must be on one scale."""


def iqm(samples: Samples) -> float:
    """Gives the interquartile mean: the mean of the middle half of all values, in their unit.

    Of n values, int(n / 4) are left out at each end. So it is the plain mean of fewer than 4.

    Raises:
        ValueError: There is no value.
    """
    values = np.concatenate([np.asarray(values, float) for values in samples.values()])
    if not values.size:
        raise ValueError("the IQM of no values is not defined")
    return float(_trimmed_mean(values))


def interval(
    samples: Samples, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float] | None:
    """Gives the confidence interval of the IQM by a stratified percentile bootstrap over the seeds.

    Args:
        samples: A value per seed and task.
        level: Confidence level.
        resamples: How often seeds are resampled.
        seed: Seed of the resampling. The same arguments give the same numbers.

    Returns:
        Both ends. None where a task has fewer than two seeds, because resampling one value does
        not show how it varies.
    """
    from scipy.stats import bootstrap

    strata = [np.asarray(values, float) for values in samples.values()]
    if not strata or min(values.size for values in strata) < 2:
        return None
    # SciPy resamples unpaired samples independently of each other, as strata need it.
    result: Any = bootstrap(
        strata,
        lambda *resampled, axis: _trimmed_mean(np.concatenate(resampled, axis=-1), axis),
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return float(low), float(high)


def probability_of_improvement(values: Sequence[float], others: Sequence[float]) -> float:
    """Gives how likely a random one of `values` is above a random one of `others`; a tie is half.

    P(X > Y) of the paper: all pairs are counted (the Mann-Whitney U statistic).
    """
    one, other = np.asarray(values, float)[:, None], np.asarray(others, float)[None]
    return float(np.mean((one > other) + 0.5 * (one == other)))


def resolution(differences: Sequence[float]) -> float | None:
    """Gives half of the 95 % interval of the mean of differences; None of fewer than two.

    It is by Student's t, which counts how few there are: 12.7 standard errors for two of them, 4.3
    for three, 2.3 for ten. A mean difference that is smaller may well be luck.
    """
    from scipy.stats import t

    count = len(differences)
    if count < 2:
        return None
    error = np.std(differences, ddof=1) / np.sqrt(count)
    return float(t.ppf(0.975, count - 1) * error)


def _trimmed_mean(values: Any, axis: int = -1) -> Any:
    from scipy.stats import trim_mean

    return trim_mean(values, TRIMMED, axis=axis)
