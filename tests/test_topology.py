"""Which weights a pattern keeps: small cases by hand, and its promises for any scores."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl.errors import BadValue
from sparl.topology import NofM, PerLayer, PerRow, divergence


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


def test_text_and_pattern_are_each_others_inverse():
    for pattern in (NofM(2, 4), NofM(1, 16), NofM(16, 16), NofM(1, 1)):
        assert NofM.parse(str(pattern)) == pattern
    assert NofM.parse(" 2 : 4 ") == NofM(2, 4)


@pytest.mark.parametrize("text", ["5:4", "0:4", "1:17", "0:0"])
def test_impossible_counts_are_refused_with_the_rule(text):
    with pytest.raises(BadValue, match=rf"pattern {text} is not possible.*1 <= N <= M <= 16"):
        NofM.parse(text)


@pytest.mark.parametrize("text", ["2:", ":4", "a:b", "2", "", "2:4:8", "-2:4", "2.0:4", "2/4"])
def test_other_forms_are_refused_with_an_example(text):
    with pytest.raises(BadValue, match="is not of the form N:M, for example 2:4"):
        NofM.parse(text)


@pytest.mark.parametrize("pattern", [PerRow, PerLayer])
def test_nothing_kept_is_refused(pattern):
    with pytest.raises(BadValue, match="at least 1"):
        pattern(0)


def test_divergence_counts_flipped_bits():
    before = jnp.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert divergence(before, before) == 0
    # One weight moved within the first row (2 bits), one was dropped from the second (1 bit).
    assert divergence(before, jnp.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])) == 3
