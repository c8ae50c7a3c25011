"""The dynamic replay of RLx2 (2205.15043): when transitions are dropped."""

import numpy as np
import pytest

from sparl.replay import OLDEST, Columns, Replay, drift, shrink

COLUMNS = Columns(1, 2)


def filled(count: int, capacity: int = 10_000) -> Replay:
    """A replay whose observations are the numbers of transitions; all actions are (0.5, -0.5)."""
    replay = Replay(capacity, COLUMNS)
    for number in range(count):
        observation = np.float32([number])
        replay.add(observation, np.float32([0.5, -0.5]), 0.0, observation, False, False)
    return replay


def far(observation):
    return np.full((len(observation), 2), [-0.5, 0.5], np.float32)


def near(observation):
    return np.full((len(observation), 2), [0.5, -0.4], np.float32)


def test_drift_is_half_the_mean_squared_difference():
    assert drift(filled(3), far) == pytest.approx(0.5)
    assert drift(filled(3), near) == pytest.approx(0.1**2 / 4)


def test_drift_is_measured_on_the_oldest_transitions():
    replay = filled(2 * OLDEST, capacity=2 * OLDEST - 100)
    observations = []
    drift(replay, lambda x: observations.append(x) or far(x))
    assert observations[0][:, 0].tolist() == list(range(100, 100 + OLDEST))


@pytest.mark.parametrize(
    ("count", "act", "least", "left"),
    [
        (1000, far, 100, 900),
        (1000, near, 100, 1000),
        (1000, far, 950, 950),  # never below the least size
        (1000, far, 1000, 1000),
        (500, far, 1000, 500),
    ],
)
def test_the_oldest_tenth_is_dropped_if_the_policy_has_drifted_far(count, act, least, left):
    replay = filled(count)
    shrink(replay, act, least, 0.2)
    assert (replay.size, replay.added) == (left, count)
    assert replay.oldest == count - left
