"""When updates are due, by steps and by episodes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl.agents import SAC, TD3, UpdateSchedule
from sparl.errors import BadValue


@given(
    starts=st.integers(0, 20),
    every=st.integers(1, 7),
    updates=st.integers(1, 5),
    steps=st.integers(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_by_steps_so_many_are_made_every_so_often(starts, every, updates, steps):
    schedule, made = UpdateSchedule(starts, every, updates), 0
    for step in range(1, steps + 1):
        due = schedule.due(step, episodes=0, ended=False, made=made)
        assert due == (updates if step > starts and (step - starts) % every == 0 else 0)
        for update in range(made + 1, made + due + 1):
            assert schedule.step_of(update) == step
        made += due
    assert made == schedule.planned(steps)


def test_by_episodes_each_of_their_steps_is_learned_from_when_they_have_ended():
    schedule = UpdateSchedule(starts=5, every=2, updates=3, unit="episodes")
    made, when = 0, {}
    for step in range(1, 25):
        ended = step % 4 == 0
        due = schedule.due(step, episodes=step // 4, ended=ended, made=made)
        made += due
        if due:
            when[step] = due
    assert when == {8: 3 * 3, 16: 3 * 8, 24: 3 * 8}
    assert made == schedule.planned(24)
    assert schedule.per_step == 3


def test_an_agent_has_its_schedule_from_its_options():
    agent = TD3(learning_starts=100, train_freq=4, gradient_steps=2)
    assert agent.schedule == UpdateSchedule(100, 4, 2)
    assert agent.schedule.per_step == 0.5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"train_freq": 0}, "train_freq is 0: it must be at least 1"),
        ({"gradient_steps": 0}, "gradient_steps is 0: it must be at least 1"),
        ({"train_unit": "days"}, "train_unit is 'days': choose steps or episodes"),
        ({"max_grad_norm": 0.0}, "max_grad_norm is 0.0: it must be above 0"),
        ({"learning_rate_schedule": "steps"}, "learning_rate_schedule is 'steps': choose"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, message):
    with pytest.raises(BadValue, match=message):
        SAC(**options)
