"""What sets variants apart, and what so many seeds can tell."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparl.analysis import statistics
from sparl.analysis.differences import differences
from sparl.analysis.variant import Variant
from sparl.errors import BadValue

FINITE = st.floats(-1e3, 1e3, allow_nan=False)
EMPTY = {"str": "", "int": 0, "float": 0.0, "float | None": None}
UNKNOWN = {field.name: EMPTY.get(str(field.type), ()) for field in fields(Variant)}
"""What differences do not look at."""


def variant(label, returns, seeds=None):
    seeds = tuple(range(len(returns))) if seeds is None else seeds
    known = {"label": label, "policy_returns": tuple(returns), "seeds": seeds}
    return Variant(**UNKNOWN | known)


def test_differences_are_paired_by_seed():
    """Seeds differ by far more than the variants do; seed by seed these are told apart."""
    dense, sparse = variant("dense", [100.0, 500.0, 900.0]), variant("1:8", [110.0, 512.0, 911.0])
    (found,) = differences([sparse, dense])
    assert (found.label, found.against, found.seeds) == ("1:8", "dense", (0, 1, 2))
    assert found.mean == pytest.approx(11.0)
    assert found.resolution == pytest.approx(4.30265 * 1.0 / np.sqrt(3), rel=1e-5)  # t of 2
    assert found.is_one and found.verdict == "better"
    assert found.probability_of_improvement == pytest.approx(6 / 9)
    (turned,) = differences([sparse, dense], against="1:8")
    assert turned.mean == -found.mean and turned.verdict == "worse"


def test_what_seeds_cannot_tell_is_no_difference():
    dense, sparse = variant("dense", [100.0, 200.0]), variant("sparse", [150.0, 160.0])
    (found,) = differences([dense, sparse])
    assert found.mean == 5.0 and found.resolution == pytest.approx(12.7062 * 45.0, rel=1e-5)
    assert found.verdict == "not told apart"
    (one,) = differences([variant("a", [1.0]), variant("b", [9.0])])
    assert one.resolution is None and one.verdict == "one seed tells nothing"


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_seldom_is_there_a_difference_where_there_is_none(seeds):
    """Two standard errors would call one of 18 % of such triples of seeds."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(2000, seeds)).tolist()
    called = [abs(np.mean(d)) > (statistics.resolution(d) or 0.0) for d in drawn]
    assert 0.03 < np.mean(called) < 0.07


def test_only_shared_seeds_are_paired():
    a, b = variant("a", [1.0, 2.0, 3.0], (0, 1, 2)), variant("b", [5.0, 6.0], (2, 7))
    (found,) = differences([a, b])
    assert found.seeds == (2,) and found.mean == 2.0
    assert differences([a, variant("c", [1.0], (9,))]) == ()
    with pytest.raises(BadValue, match=r"against is 'x': the variants are a, b"):
        differences([a, b], "x")


@given(st.lists(FINITE, min_size=1, max_size=9), st.lists(FINITE, min_size=1, max_size=9))
def test_improvement_one_way_and_the_other_add_up_to_one(a, b):
    one, other = (statistics.probability_of_improvement(*pair) for pair in ((a, b), (b, a)))
    assert one + other == pytest.approx(1.0)
    assert statistics.probability_of_improvement([*a, 1e4], [-1e4]) == 1.0


@given(st.lists(FINITE, min_size=2, max_size=9), st.floats(0.1, 9.0))
def test_the_resolution_goes_with_the_spread_and_not_with_the_level(values, factor):
    told = statistics.resolution(values)
    assert told is not None
    moved = statistics.resolution([factor * value + 7.0 for value in values])
    assert moved == pytest.approx(factor * told, rel=1e-6, abs=1e-6)
    assert statistics.resolution(values[:1]) is None
