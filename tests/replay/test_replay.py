"""The replay: what it stores, what it samples, and how it is restored."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import same_bits

from sparl.replay import Columns, Replay

COLUMNS = Columns(2, 1)


def row(t: int) -> list[float]:
    """The row of transition number t, in which every entry is different."""
    return [t, t + 0.1, t + 0.2, t + 0.3, t + 0.4, t + 0.5, t % 2, t % 3 == 0]


def filled(capacity: int, count: int) -> Replay:
    replay = Replay(capacity, COLUMNS)
    for t in range(count):
        o0, o1, action, reward, n0, n1, terminated, ended = np.array(row(t), np.float32)
        replay.add(
            np.array([o0, o1]),
            np.array([action]),
            float(reward),
            np.array([n0, n1]),
            bool(terminated),
            bool(ended),
        )
    return replay


def expected(first: int, end: int):
    return np.array([row(t) for t in range(first, end)], np.float32).reshape(-1, 8)


def test_columns_split_a_row_into_its_fields():
    columns = Columns(2, 3)
    assert columns.width == 10
    batch = columns.split(jnp.asarray(np.arange(20).reshape(2, 10), jnp.float32))
    assert batch.observation.tolist() == [[0, 1], [10, 11]]
    assert batch.action.tolist() == [[2, 3, 4], [12, 13, 14]]
    assert batch.reward.tolist() == [5, 15]
    assert batch.next_observation.tolist() == [[6, 7], [16, 17]]
    assert batch.terminated.tolist() == [8, 18]
    assert batch.discount.tolist() == [9, 19]


def test_a_discrete_action_is_one_column():
    columns = Columns(2, 5, discrete=True)
    replay = Replay(1, columns)
    replay.add(np.array([1, 2], np.float32), 4, 3.0, np.array([5, 6], np.float32), False, True)
    batch = columns.split(jnp.asarray(replay.sample(1, np.random.default_rng(0), 0.5)))
    assert batch.action.tolist() == [[4.0]]
    assert batch.reward.tolist() == [3.0]
    assert batch.next_observation.tolist() == [[5.0, 6.0]]


def test_added_transitions_come_back_in_their_columns():
    replay = filled(4, 2)
    batch = COLUMNS.split(jnp.asarray(replay.span(0, 2)))
    assert same_bits(batch.observation, np.array([[0, 0.1], [1, 1.1]], np.float32))
    assert same_bits(batch.action, np.array([[0.2], [1.2]], np.float32))
    assert same_bits(batch.reward, np.array([0.3, 1.3], np.float32))
    assert same_bits(batch.next_observation, np.array([[0.4, 0.5], [1.4, 1.5]], np.float32))
    assert batch.terminated.tolist() == [0, 1]


def test_a_full_ring_overwrites_the_oldest_transition():
    replay = filled(3, 2)
    assert (replay.size, replay.added, replay.capacity) == (2, 2, 3)
    replay = filled(3, 5)
    assert (replay.size, replay.added, replay.capacity) == (3, 5, 3)
    assert replay.rows[:, 0].tolist() == [3, 4, 2]  # transition t in row t mod 3
    assert same_bits(replay.span(2, 5), expected(2, 5))


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 7), st.integers(1, 20), st.data())
def test_restore_is_the_inverse_of_span(capacity, count, data):
    replay = filled(capacity, count)
    oldest = count - replay.size
    assert same_bits(replay.span(oldest, count), expected(oldest, count))

    # Restored in pieces, as checkpoints hold them.
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
def test_samples_are_whole_rows_drawn_uniformly_from_the_stored_ones(count, present):
    sample = filled(4, count).sample(4000, np.random.default_rng(0), 0.5)
    assert sample.shape == (4000, COLUMNS.width)
    assert sample.dtype == np.float32
    drawn, counts = np.unique(sample[:, 0], return_counts=True)
    assert set(drawn) == present
    # Six standard deviations of a binomial count around its mean.
    share = 1 / len(present)
    assert np.abs(counts - 4000 * share).max() < 6 * np.sqrt(4000 * share * (1 - share))
    for transition in sample[:20]:
        assert same_bits(transition, np.array([*row(int(transition[0]))[:-1], 0.5], np.float32))


@pytest.mark.parametrize("count", [3, 4, 6])
def test_the_newest_rows_are_the_last_ones_in_their_order(count):
    newest = filled(4, count).newest(3, 0.5)
    assert newest[:, 0].tolist() == [count - 3, count - 2, count - 1]
    assert same_bits(newest[0], np.array([*row(count - 3)[:-1], 0.5], np.float32))


def test_samples_follow_from_the_generator_and_are_new_arrays():
    replay = filled(4, 4)
    first, second = (replay.sample(8, np.random.default_rng(1), 0.9) for _ in range(2))
    assert same_bits(first, second)
    replay.rows[:] = -1
    assert (first >= 0).all()


def summed_by_hand(replay: Replay, number: int, gamma: float, n_step: int) -> list[float]:
    """An n-step row, summed one step after the other."""
    reward, steps = 0.0, 0
    while True:
        (last,) = replay.span(number + steps, number + steps + 1).astype(np.float64)
        reward += gamma**steps * last[3]
        steps += 1
        if steps == n_step or last[-1] or number + steps == replay.added:
            first = replay.span(number, number + 1)[0]
            return [*first[:3], reward, *last[4:7], gamma**steps]


@settings(deadline=None)  # a busy machine is no failure
@given(
    capacity=st.integers(1, 9),
    ends=st.lists(st.booleans(), min_size=1, max_size=20),
    n_step=st.integers(1, 5),
    dropped=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_n_step_rows_are_those_summed_by_hand(capacity, ends, n_step, dropped, seed):
    rng = np.random.default_rng(seed)
    replay = Replay(capacity, COLUMNS)
    for number, ended in enumerate(ends):
        observation, following = rng.normal(size=(2, 2)).astype(np.float32)
        observation[0] = number
        action = rng.uniform(-1, 1, 1).astype(np.float32)
        terminated = ended and seed % 2 == 1
        replay.add(observation, action, float(rng.normal()), following, terminated, ended)
    replay.drop(min(dropped, replay.size - 1))
    for sampled in replay.sample(30, rng, 0.9, n_step):
        number = int(sampled[0])
        assert replay.oldest <= number < replay.added
        np.testing.assert_allclose(
            sampled, summed_by_hand(replay, number, 0.9, n_step), rtol=1e-5, atol=1e-6
        )


def mixed(
    replay: Replay, whose: list[int], ends: list[bool], rng: np.random.Generator
) -> list[list[list[float]]]:
    """Fills a replay with transitions of several environments.

    Returns:
        For each environment its rows: number, reward, next observation and whether it ended.
    """
    rows: list[list[list[float]]] = [[] for _ in range(1 + max(whose))]
    for number, (stream, ended) in enumerate(zip(whose, ends, strict=True)):
        values = rng.normal(size=6).astype(np.float32)
        observation, following = np.array([number, values[1]], np.float32), values[2:4]
        replay.add(observation, values[:1], float(values[5]), following, ended, ended, stream)
        rows[stream].append([number, float(values[5]), *following.tolist(), ended])
    return rows


@settings(deadline=None)  # a busy machine is no failure
@given(
    capacity=st.integers(1, 30),
    steps=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=40),
    n_step=st.integers(1, 5),
    dropped=st.integers(0, 3),
    cut=st.booleans(),
    seed=st.integers(0, 99),
)
def test_sums_of_rewards_stay_with_one_environment(capacity, steps, n_step, dropped, cut, seed):
    """In any order of the environments, and with any part of their transitions still stored."""
    rng = np.random.default_rng(seed)
    replay = Replay(capacity, COLUMNS, streams=3)
    whose, ends = [stream for stream, _ in steps], [ended for _, ended in steps]
    rows = mixed(replay, whose, ends, rng)
    replay.drop(min(dropped, replay.size - 1))
    if cut:
        replay.cut()
        again = Replay(capacity, COLUMNS, streams=3)
        again.restore(replay.oldest, replay.span(replay.oldest, replay.added))
        again.drop(replay.oldest - again.oldest)
        replay = again
    place = {row[0]: (stream, i) for stream, of in enumerate(rows) for i, row in enumerate(of)}
    for sampled in replay.sample(40, rng, 0.9, n_step):
        stream, first = place[int(sampled[0])]
        episode = rows[stream][first : first + n_step]
        over = next((i + 1 for i, row in enumerate(episode) if row[-1]), len(episode))
        reward = sum(0.9**i * row[1] for i, row in enumerate(episode[:over]))
        last = episode[over - 1]
        expected = [reward, *last[2:4], float(last[-1]), 0.9**over]
        np.testing.assert_allclose(sampled[3:], expected, rtol=1e-5, atol=1e-6)


def test_no_sum_of_rewards_goes_on_after_a_cut():
    """The next transition is of another episode, although the one before had not ended."""
    replay = Replay(8, COLUMNS)
    nothing = np.zeros(2, np.float32)
    for number in range(4):
        replay.add(nothing, nothing[:1], 1.0, nothing, False, False)
        if number == 1:
            replay.cut()
    discounts = replay.sample(200, np.random.default_rng(0), 0.5, 4)[:, [3, -1]]
    assert {tuple(row) for row in discounts.tolist()} == {(1.0, 0.5), (1.5, 0.25)}


def test_a_cut_of_an_empty_replay_changes_nothing():
    replay = Replay(2, COLUMNS)
    replay.cut()
    assert not replay.rows.any()


def test_dropped_transitions_are_not_drawn_again():
    replay = filled(6, 8)  # 2 to 7
    replay.drop(3)
    assert (replay.oldest, replay.size, replay.added) == (5, 3, 8)
    drawn = replay.sample(300, np.random.default_rng(0), 0.9)[:, 0]
    assert set(drawn.tolist()) == {5.0, 6.0, 7.0}
    nothing = np.zeros(2, np.float32)
    for _ in range(8, 20):  # then the ring fills up again
        replay.add(nothing, nothing[:1], 0.0, nothing, False, False)
    assert (replay.oldest, replay.size) == (14, 6)
