"""Aggregates of returns over seeds and tasks (Agarwal et al. 2021, 2108.13264).

Few seeds make a mean a matter of luck. The paper reports the interquartile mean (IQM) with an
interval from a stratified bootstrap: seeds are drawn again within each task, never across tasks.
SciPy is imported where it is used, since importing it takes longer than most commands do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TRIMMED = 0.25
"""Share of the values that the IQM leaves out at each end."""

Samples = Mapping[str, Sequence[float]]
"""Task to one value for each seed. Values of several tasks must be on one scale."""


def iqm(samples: Samples) -> float:
    """The mean of the middle half of all values, in their unit.

    Of n values, int(n / 4) are left out at each end: with fewer than 4 it is the plain mean.
    Raises `ValueError` where there is no value.
    """
    values = np.concatenate([np.asarray(values, float) for values in samples.values()])
    if not values.size:
        raise ValueError("the IQM of no values is not defined")
    return float(_trimmed_mean(values))


def interval(
    samples: Samples, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float] | None:
    """Ends of the IQM's confidence interval: stratified percentile bootstrap over the seeds.

    The same arguments give the same numbers. None where a task has fewer than two seeds: drawing
    one value again says nothing of how it varies.
    """
    from scipy.stats import bootstrap

    strata = [np.asarray(values, float) for values in samples.values()]
    if not strata or min(values.size for values in strata) < 2:
        return None
    # Several samples that are not paired are drawn independently of each other: the strata.
    found: Any = bootstrap(
        strata,
        lambda *drawn, axis: _trimmed_mean(np.concatenate(drawn, axis=-1), axis),
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    low, high = found.confidence_interval
    return float(low), float(high)


def _trimmed_mean(values: Any, axis: int = -1) -> Any:
    from scipy.stats import trim_mean

    return trim_mean(values, TRIMMED, axis=axis)
