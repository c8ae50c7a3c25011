"""The gate by which methods prune while the return is near the best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparl.methods import Returns
from sparl.training import LoopState


def after(returns):
    """What methods see when episodes with these returns have ended."""
    state = LoopState()
    for one in returns:
        state.episode_ended(float(one), 1)
    return state.recent_returns


@pytest.mark.parametrize(
    "recent, tolerance, errors, holds",
    [
        (81.0, 0.2, 0.0, True),
        (79.0, 0.2, 0.0, False),
        (-1e6, 1.0, 0.0, True),
        (81.0, 0.2, 3.0, False),  # both limits count
        (86.0, 0.2, 3.0, True),
        (84.0, 1.0, 3.0, False),
        (86.0, 0.1, 3.0, False),
    ],
)
def test_the_return_holds_within_both_limits(recent, tolerance, errors, holds):
    returns = Returns(recent, best=100.0, lowest=0.0, error=5.0)
    assert bool(returns.hold(tolerance, errors)) == holds


def test_one_very_low_start_does_not_hold_the_gate_open():
    rng = np.random.default_rng(0)
    learned = 200 + 20 * rng.standard_normal(200)
    fallen = 130 + 20 * rng.standard_normal(10)
    returns = after([*np.full(10, -900.0), *learned, *fallen])
    assert returns.hold(0.2) and not returns.hold(0.2, 4.0)
    assert after([*np.full(10, -900.0), *learned]).hold(0.2, 4.0)


@given(st.floats(0.1, 50.0), st.floats(-2.0, 2.0), st.integers(0, 2**16))
def test_the_error_is_that_of_two_means_and_does_not_count_a_rise(deviation, slope, seed):
    noise = deviation * np.random.default_rng(seed).standard_normal(100)
    rise = slope * deviation * np.arange(100) / 10
    expected = deviation * np.sqrt(2 / 10)
    assert after(noise + rise).error == pytest.approx(expected, rel=0.4)
