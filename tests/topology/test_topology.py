"""Which weights a pattern keeps: small cases by hand, and its promises for any scores."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl.errors import BadValue
from sparl.topology import (
    Kept,
    NofM,
    PerLayer,
    PerRow,
    divergence,
    drop_smallest,
    grow,
    largest,
    permute_columns,
)


def selected(pattern, scores) -> list[list[int]]:
    """The kept columns of each row."""
    kept = pattern.select(jnp.asarray(scores, jnp.float32))
    return [kept.columns[a:b].tolist() for a, b in itertools.pairwise(kept.row_starts.tolist())]


@pytest.mark.parametrize(
    "pattern, scores, columns",
    [
        # The largest of each group, in the order of the columns, not of the scores.
        (NofM(2, 4), [[1, 9, 8, 2, 3, 4, 0, 1]], [[1, 2, 4, 5]]),
        # Each row chooses for itself.
        (NofM(1, 2), [[1, 2, 3, 4], [2, 1, 4, 3]], [[1, 3], [0, 2]]),
        # Ties go to the lower column.
        (NofM(2, 4), [[5, 5, 5, 5, 1, 7, 7, 7]], [[0, 1, 5, 6]]),
        # A last group of 1: it keeps what it has, for padding never wins, not even over -5.
        (NofM(2, 4), [[1, 2, 3, 4, -5]], [[2, 3, 4]]),
        # A last group of 3 keeps N of them.
        (NofM(2, 4), [[1, 2, 3, 4, 0, -1, 6]], [[2, 3, 4, 6]]),
        # N = M keeps everything.
        (NofM(3, 3), [[1, 2, 3, 4, 5]], [[0, 1, 2, 3, 4]]),
        # M wider than the inputs: the row is one short group.
        (NofM(2, 8), [[1, 5, 3]], [[1, 2]]),
        (NofM(4, 8), [[1, 5, 3]], [[0, 1, 2]]),
        # Two rows share the columns of the largest sums; the row that is left chooses alone.
        (NofM(1, 2, 2), [[1, 2, 3, 4], [4, 1, 1, 9], [1, 2, 2, 1]], [[0, 3], [0, 3], [1, 2]]),
        (NofM(1, 2, 8), [[1, 2], [4, 1]], [[0], [0]]),
        (PerRow(2), [[1, 9, 8, 2], [7, 7, 7, 7]], [[1, 2], [0, 1]]),
        (PerRow(5), [[1, 2]], [[0, 1]]),
        # Per layer, rows compete: one may be full and another empty.
        (PerLayer(3), [[9, 8, 7], [1, 2, 3], [0, 0, 0]], [[0, 1, 2], [], []]),
        (PerLayer(3), [[1, 2, 9], [3, 3, 3]], [[2], [0, 1]]),
        (PerLayer(99), [[1], [2]], [[0], [0]]),
    ],
)
def test_kept_columns_by_hand(pattern, scores, columns):
    assert selected(pattern, scores) == columns
    assert pattern.count(*np.shape(scores)) == sum(map(len, columns))


# Few shapes, for each compiles anew; few values, so that ties are common.
SHAPES = st.sampled_from([(1, 1), (3, 4), (2, 7), (4, 16), (3, 18)])


@st.composite
def cases(draw, patterns):
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return draw(patterns), rng.integers(-3, 4, draw(SHAPES)).astype(np.float32)


N_OF_M = st.sampled_from([(1, 1), (1, 2), (2, 4), (1, 4), (4, 4), (3, 5), (1, 8), (2, 16)]).map(
    lambda nm: NofM(*nm)
)


def groups_of(pattern, scores):
    """The groups that a pattern chooses within, as flat places of the matrix."""
    out, inputs = scores.shape
    places = np.arange(out * inputs).reshape(out, inputs)
    match pattern:
        case NofM(_, m):
            return [row[first : first + m] for row in places for first in range(0, inputs, m)]
        case PerRow():
            return list(places)
        case PerLayer():
            return [places.reshape(-1)]


@settings(max_examples=60, deadline=None)
@given(cases(N_OF_M | st.integers(1, 20).map(PerRow) | st.sampled_from([1, 2, 9]).map(PerLayer)))
def test_every_pattern_keeps_the_best_of_each_group(case):
    pattern, scores = case
    columns = selected(pattern, scores)
    assert sum(map(len, columns)) == pattern.count(*scores.shape)
    assert all(row == sorted(set(row)) for row in columns)

    kept = {r * scores.shape[1] + c for r, row in enumerate(columns) for c in row}
    limit = pattern.n if isinstance(pattern, NofM) else pattern.kept
    flat = scores.reshape(-1)
    for group in groups_of(pattern, scores):
        inside = [place for place in group if place in kept]
        outside = [place for place in group if place not in kept]
        assert len(inside) == min(limit, len(group))
        # Kept ones dominate dropped ones, and among equals the lower column is kept.
        for k in inside:
            assert all((flat[k], -k) > (flat[o], -o) for o in outside)


def test_parse_inverts_str():
    for pattern in (NofM(2, 4), NofM(1, 16), NofM(16, 16), NofM(1, 1)):
        assert NofM.parse(str(pattern)) == pattern
    assert NofM.parse(" 2 : 4 ") == NofM(2, 4)


@given(cases(st.sampled_from([(1, 2, 2), (2, 4, 4), (1, 8, 3), (2, 5, 16)])))
@settings(max_examples=30, deadline=None)
def test_rows_that_share_columns_keep_the_largest_summed_scores(case):
    (n, m, v), scores = case
    columns = selected(NofM(n, m, v), scores)
    for first in range(0, len(scores), v):
        group = scores[first : first + v]
        (alone,) = selected(NofM(n, m), group.sum(axis=0, keepdims=True))
        assert columns[first : first + v] == [alone] * len(group)


def test_shared_rows_are_written_as_n_m_x_v():
    assert NofM.parse("1:8x4") == NofM(1, 8, 4)
    assert str(NofM(1, 8, 4)) == "1:8x4"
    assert NofM.parse("1:8x1") == NofM.parse("1:8")
    with pytest.raises(BadValue, match=r"1:8x17 .* from 1 to 16"):
        NofM.parse("1:8x17")


@pytest.mark.parametrize("text", ["5:4", "0:4", "1:17", "0:0"])
def test_impossible_patterns_are_refused_with_the_rule(text):
    with pytest.raises(BadValue, match=rf"pattern {text} is not possible.*1 <= N <= M <= 16"):
        NofM.parse(text)


@pytest.mark.parametrize(
    "text", ["2:", ":4", "a:b", "2", "", "2:4:8", "-2:4", "2.0:4", "2/4", "1:8x", "1:8x-1"]
)
def test_texts_of_another_form_are_refused_with_an_example(text):
    with pytest.raises(BadValue, match="is not of the form N:M or N:MxV, for example 2:4"):
        NofM.parse(text)


@pytest.mark.parametrize("pattern", [PerRow, PerLayer])
def test_patterns_that_keep_nothing_are_refused(pattern):
    with pytest.raises(BadValue, match="at least 1"):
        pattern(0)


def test_divergence_counts_flipped_bits():
    before = jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert divergence(before, before) == 0
    # One weight moved within the first row (2 bits), one was dropped from the second (1 bit).
    assert divergence(before, jnp.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])) == 3


def places(mask) -> list[list[int]]:
    """The columns of each row where a mask is true."""
    return [np.flatnonzero(row).tolist() for row in np.asarray(mask)]


def matrix(*numbers) -> jax.Array:
    return jnp.asarray(numbers, jnp.float32)


@given(case=cases(st.just(None)), count=st.integers(0, 54))
@settings(deadline=None)
def test_largest_is_a_stable_sort_of_any_scores(case, count):
    _, scores = case
    scores = np.where(scores == 3, -np.inf, np.where(scores == 0, -0.0, scores))
    count = min(count, scores.size)
    order = np.argsort(-scores.reshape(-1), kind="stable")[:count]
    expected = np.zeros(scores.size, bool)
    expected[order] = True
    # The count is an array here: it may change without another compilation.
    found = jax.jit(largest)(jnp.asarray(scores, jnp.float32), jnp.int32(count))
    assert np.array_equal(np.asarray(found), expected.reshape(scores.shape))


def test_kept_lists_the_places_of_a_mask():
    kept = Kept.of(jnp.array([[False, True, True], [False, False, False], [True, False, True]]), 4)
    assert kept.columns.tolist() == [1, 2, 0, 2]
    assert kept.row_starts.tolist() == [0, 2, 2, 4]


WEIGHT = matrix([5, -1, 2, 0], [-4, 3, -2, 9])
ACTIVE = jnp.array([[True, True, True, False], [True, True, True, True]])


def test_the_smallest_magnitudes_are_dropped():
    # Seven weights; 2/7 of them are -1 and the first of the two of magnitude 2 stays: ties go to
    # the first place.
    assert places(drop_smallest(WEIGHT, ACTIVE, 2 / 7)) == [[0, 2], [0, 1, 3]]
    assert places(drop_smallest(WEIGHT, ACTIVE, 0.0)) == places(ACTIVE)
    assert places(drop_smallest(WEIGHT, ACTIVE, 1.0)) == [[], []]


def test_drop_by_sign_takes_a_share_of_each_sign():
    # Positive: 5, 2, 3, 9, half of them 2 and 3. Negative: -1, -4, -2, a third of them -1.
    assert places(drop_smallest(WEIGHT, ACTIVE, 0.5, by_sign=True)) == [[0], [0, 2, 3]]


def test_a_fraction_that_is_not_exact_in_binary_drops_what_it_says():
    weight = matrix(range(1, 51))
    assert sum(map(len, places(drop_smallest(weight, weight > 0, 0.1)))) == 45
    assert sum(map(len, places(drop_smallest(weight, weight > 0, jnp.float32(0.7))))) == 15


def test_growth_takes_the_best_empty_places():
    kept = jnp.array([[True, False, False, False], [False, False, False, True]])
    scores = matrix([99, 1, 7, 3], [7, 2, 8, 99])
    assert places(grow(kept, scores, 2)) == [[0], [3]]
    assert places(grow(kept, scores, 4)) == [[0, 2], [2, 3]]
    assert places(grow(kept, scores, 5)) == [[0, 2], [0, 2, 3]]


@given(case=cases(st.just(None)), fraction=st.floats(0, 1), by_sign=st.booleans())
@settings(deadline=None)
def test_dropping_and_growing_keeps_the_count(case, fraction, by_sign):
    _, weight = case
    active = jnp.asarray(weight != 1)
    count = int(active.sum())
    rest = drop_smallest(jnp.asarray(weight), active, fraction, by_sign)
    assert not bool(jnp.any(rest & ~active))
    after = grow(rest, jnp.where(active, -1.0, jnp.asarray(weight)), count)
    assert int(after.sum()) == count and bool(jnp.all(after | ~rest))


def test_permuting_separates_large_columns():
    # Both large columns are in one group of 1:2, both small ones in the other.
    scores = matrix([9, 8, 1, 2])
    order = permute_columns(NofM(1, 2), scores, 50, jax.random.key(0))
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert NofM(1, 2).select(scores[:, order]).columns.size == 2
    kept = scores[:, order].reshape(1, 2, 2).max(-1).sum()
    assert kept == 17  # 11 before


@given(seed=st.integers(0, 2**16), v=st.sampled_from([1, 2, 4]))
@settings(max_examples=10, deadline=None)
def test_permuting_never_keeps_less(seed, v):
    scores = jnp.abs(jax.random.normal(jax.random.key(seed), (6, 18)))
    pattern = NofM(2, 4, v)
    order = permute_columns(pattern, scores, 40, jax.random.key(seed + 1))
    assert sorted(order.tolist()) == list(range(18))
    # A last group that is shorter is not touched.
    assert order[16:].tolist() == [16, 17]

    def kept(scores):
        mask = np.zeros(scores.shape, bool)
        chosen = pattern.select(scores)
        mask[np.repeat(np.arange(6), np.diff(chosen.row_starts)), chosen.columns] = True
        return float(np.where(mask, scores, 0.0)[:, :16].sum())

    assert kept(scores[:, order]) >= kept(scores) - 1e-5
