"""Rollouts of several streams: what follows what, and advantages against a plain recursion."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl.replay import Columns, Replay

COLUMNS = Columns(1, 1)
GAMMA, DECAY = 0.9, 0.8


def replay_of(order, ends, streams) -> tuple[Replay, list[list[int]]]:
    """Transitions of those streams in that order; and of each episode their numbers."""
    replay, episodes, under_way = Replay(200, COLUMNS, streams), [], [[] for _ in range(streams)]
    zero = np.zeros(1, np.float32)
    for number, (stream, end) in enumerate(zip(order, ends, strict=True)):
        terminated, ended = end == 2, end > 0
        replay.add(zero, zero, float(number % 5), zero, terminated, ended, stream)
        under_way[stream].append(number)
        if ended:
            episodes.append(under_way[stream])
            under_way[stream] = []
    return replay, episodes + [numbers for numbers in under_way if numbers]


@given(
    st.integers(1, 3).flatmap(
        lambda streams: st.tuples(
            st.just(streams),
            st.lists(
                st.tuples(
                    st.integers(0, streams - 1),
                    st.sampled_from([0, 0, 0, 0, 1, 2]),  # goes on, truncated, terminated
                ),
                min_size=2,
                max_size=40,
            ),
        )
    ),
    st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_advantages_are_those_of_each_episode_alone(case, seed):
    streams, steps = case
    order, ends = zip(*steps, strict=True)
    replay, episodes = replay_of(order, ends, streams)
    count = max(1, len(steps) // 2)  # a rollout that begins in the middle of episodes
    rng = np.random.default_rng(seed)
    value, following = rng.normal(size=(2, len(steps))).astype(np.float32)
    first = len(steps) - count
    evaluated = {"value": value[first:], "next_value": following[first:]}
    rollout = replay.rollout(replay.newest(count, GAMMA), evaluated)
    advantages = rollout.advantages(GAMMA, DECAY)
    for episode in episodes:
        later = 0.0
        for number in reversed([n for n in episode if n >= first]):
            goes_on = 0.0 if ends[number] == 2 else GAMMA * following[number]
            later = number % 5 + goes_on - value[number] + GAMMA * DECAY * later
            assert abs(advantages[number - first] - later) < 1e-4


def test_a_truncated_episode_counts_on_and_a_terminated_one_does_not():
    replay, _ = replay_of([0, 0, 0, 0], [0, 1, 0, 2], 1)
    ones = {"value": np.zeros(4, np.float32), "next_value": np.ones(4, np.float32)}
    rollout = replay.rollout(replay.newest(4, 1.0), ones)
    assert rollout.following.tolist() == [1, -1, 3, -1]
    assert rollout.advantages(1.0, 1.0).tolist() == [0 + 1 + 2, 1 + 1, 2 + 1 + 3, 3]
