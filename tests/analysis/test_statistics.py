"""Aggregates over seeds, compared with numbers by hand and with all possible resamples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sparl.analysis import statistics


def every_resample(samples):
    """The IQM of each of the equally likely resamples, seeds drawn within each task."""
    draws = [list(itertools.product(values, repeat=len(values))) for values in samples.values()]
    iqms = []
    for drawn in itertools.product(*draws):
        values = sorted(itertools.chain(*drawn))
        cut = len(values) // 4
        iqms.append(np.mean(values[cut : len(values) - cut]))
    return np.array(iqms)


def test_iqm_is_the_mean_of_the_middle_half():
    assert statistics.iqm({"a": [100.0, 1.0, 3.0, 2.0]}) == 2.5
    # 9 values: 2 go at each end.
    assert statistics.iqm({"a": [9.0, 8.0, 1.0, 2.0, 3.0, -50.0, 5.0, 6.0, 900.0]}) == 4.8
    # Values of all tasks are one pool.
    assert statistics.iqm({"a": [100.0, 1.0], "b": [3.0, 2.0]}) == 2.5


def test_iqm_of_fewer_than_four_values_is_their_mean():
    assert statistics.iqm({"a": [-90.0, 0.0, 30.0]}) == -20.0
    assert statistics.iqm({"a": [7.0]}) == 7.0
    with pytest.raises(ValueError, match="no values"):
        statistics.iqm({"a": []})


@pytest.mark.parametrize(
    "samples",
    [
        {"a": [3.0, -1.0, 4.0, 1.5, 9.25]},
        {"a": [0.0, 1.0, 5.0], "b": [11.0, 19.0, 12.0]},
    ],
)
def test_the_interval_agrees_with_that_of_all_possible_resamples(samples):
    low, high = statistics.interval(samples, level=0.9, resamples=40_000)
    # Ends lie on a resample's value; how often each is drawn is known to a percent or so.
    near = [np.quantile(every_resample(samples), [q - 0.01, q + 0.01]) for q in (0.05, 0.95)]
    assert near[0][0] <= low <= near[0][1]
    assert near[1][0] <= high <= near[1][1]
    assert low < statistics.iqm(samples) < high


def test_seeds_are_resampled_within_their_task():
    """Each task's seeds agree, so nothing varies; drawn across tasks, the mean would."""
    assert statistics.interval({"a": [0.0, 0.0], "b": [100.0, 100.0]}) == (50.0, 50.0)
    low, high = statistics.interval({"a": [0.0, 0.0, 100.0, 100.0]})
    assert (low, high) == (0.0, 100.0)


def test_the_interval_is_deterministic_and_widens_with_the_level():
    samples = {"a": [3.0, -1.0, 4.0, 1.5, 9.25, 7.75]}
    first = statistics.interval(samples)
    assert statistics.interval(samples) == first
    narrow = statistics.interval(samples, level=0.5)
    assert first[0] < narrow[0] < narrow[1] < first[1]


def test_one_seed_of_any_task_has_no_interval():
    assert statistics.interval({"a": [3.0]}) is None
    assert statistics.interval({"a": [3.0, 4.0], "b": [3.0]}) is None
    assert statistics.interval({}) is None
