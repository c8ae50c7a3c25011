"""The replay's ring: what it holds, what it gives, and how it is put back."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import same_bits

from sparl.replay import Columns, Replay

COLUMNS = Columns(2, 1)


def row(t: int) -> list[float]:
    """Transition number t: every entry says which it is."""
    return [t, t + 0.1, t + 0.2, t + 0.3, t + 0.4, t + 0.5, t % 2]


def filled(capacity: int, count: int) -> Replay:
    replay = Replay(capacity, COLUMNS)
    for t in range(count):
        o0, o1, action, reward, n0, n1, _ = np.array(row(t), np.float32)
        replay.add(
            np.array([o0, o1]), np.array([action]), float(reward), np.array([n0, n1]), t % 2 == 1
        )
    return replay


def expected(first: int, end: int):
    return np.array([row(t) for t in range(first, end)], np.float32).reshape(-1, 7)


def test_columns_split_a_row_into_its_fields():
    columns = Columns(2, 3)
    assert columns.width == 9
    batch = columns.split(jnp.asarray(np.arange(18).reshape(2, 9), jnp.float32))
    assert batch.observation.tolist() == [[0, 1], [9, 10]]
    assert batch.action.tolist() == [[2, 3, 4], [11, 12, 13]]
    assert batch.reward.tolist() == [5, 14]
    assert batch.next_observation.tolist() == [[6, 7], [15, 16]]
    assert batch.terminated.tolist() == [8, 17]


def test_what_is_added_comes_back_in_its_columns():
    replay = filled(4, 2)
    batch = COLUMNS.split(jnp.asarray(replay.span(0, 2)))
    assert same_bits(batch.observation, np.array([[0, 0.1], [1, 1.1]], np.float32))
    assert same_bits(batch.action, np.array([[0.2], [1.2]], np.float32))
    assert same_bits(batch.reward, np.array([0.3, 1.3], np.float32))
    assert same_bits(batch.next_observation, np.array([[0.4, 0.5], [1.4, 1.5]], np.float32))
    assert batch.terminated.tolist() == [0, 1]


def test_the_oldest_gives_way_when_the_ring_is_full():
    replay = filled(3, 2)
    assert (replay.size, replay.added, replay.capacity) == (2, 2, 3)
    replay = filled(3, 5)
    assert (replay.size, replay.added, replay.capacity) == (3, 5, 3)
    assert replay.rows[:, 0].tolist() == [3, 4, 2]  # transition t in row t mod 3
    assert same_bits(replay.span(2, 5), expected(2, 5))


@given(st.integers(1, 7), st.integers(1, 20), st.data())
def test_span_and_restore_are_each_others_inverse(capacity, count, data):
    replay = filled(capacity, count)
    oldest = count - replay.size
    assert same_bits(replay.span(oldest, count), expected(oldest, count))

    # Put back in pieces, as checkpoints hold them.
    cut = data.draw(st.integers(oldest, count))
    again = Replay(capacity, COLUMNS)
    for first, end in ((oldest, cut), (cut, count)):
        again.restore(first, replay.span(first, end))
    assert (again.added, again.size) == (replay.added, replay.size)
    assert same_bits(again.rows, replay.rows)


def test_span_is_a_copy():
    replay = filled(3, 3)
    span = replay.span(0, 3)
    replay.rows[:] = -1
    assert same_bits(span, expected(0, 3))


@pytest.mark.parametrize("count, present", [(2, {0, 1}), (4, {0, 1, 2, 3}), (6, {2, 3, 4, 5})])
def test_samples_are_whole_rows_of_what_is_there_each_as_likely(count, present):
    sample = filled(4, count).sample(4000, np.random.default_rng(0))
    assert sample.shape == (4000, COLUMNS.width)
    assert sample.dtype == np.float32
    drawn, counts = np.unique(sample[:, 0], return_counts=True)
    assert set(drawn) == present
    # Six standard deviations of a binomial count around its mean.
    share = 1 / len(present)
    assert np.abs(counts - 4000 * share).max() < 6 * np.sqrt(4000 * share * (1 - share))
    for transition in sample[:20]:
        assert same_bits(transition, np.array(row(int(transition[0])), np.float32))


def test_samples_follow_from_the_generator_and_are_fresh_arrays():
    replay = filled(4, 4)
    first, second = (replay.sample(8, np.random.default_rng(1)) for _ in range(2))
    assert same_bits(first, second)
    replay.rows[:] = -1
    assert (first >= 0).all()
