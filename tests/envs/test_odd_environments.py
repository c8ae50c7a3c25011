"""What environments of users do that gymnasium does not ask for, or that nobody thinks of."""

from __future__ import annotations

import os
from array import array
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from environments import OFTEN, TINY, Point
from gymnasium import spaces

import sparl
from sparl import envs
from sparl.config import RunConfig, words
from sparl.envs import arrival, check
from sparl.errors import BadEnvironment, BadValue, EnvironmentFailed
from sparl.storage import RunFolder

SHORT = OFTEN | {"steps": 80, "eval_every": 40, "checkpoint_every": 40}


class Observing(gym.Env):
    """Gives what it is told to give, in a space that it is told."""

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, space, observation):
        self.observation_space, self.given = space, observation

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.given, {}

    def step(self, action):
        return self.given, 0.0, False, False, {}


def seen(space, given):
    """A flat observation, as agents see it."""
    env = envs.make(envs.describe(partial(Observing, space, given)).name)
    return envs.spaces_of(env).flat_one(env.reset()[0])


def test_entries_of_integers_are_not_cut_to_whole_numbers():
    space = spaces.Dict({"flag": spaces.Discrete(2), "pos": spaces.Box(-10, 10, (2,), np.int64)})
    found = seen(space, {"flag": 1, "pos": np.array([0.25, -0.75])})
    assert found.tolist() == [0.0, 1.0, 0.25, -0.75]


@pytest.mark.parametrize(
    "space, given",
    [
        (spaces.Discrete(5, start=1), 0),
        (spaces.Discrete(5, start=1), 6),
        (spaces.MultiDiscrete([3, 3]), np.array([3, 0])),
        (spaces.Dict({"gear": spaces.Discrete(3)}), {"gear": -1}),
        (spaces.Discrete(5), np.array([1, 2, 3])),
    ],
)
def test_a_choice_that_there_is_not_is_refused_and_no_other_one_seen(space, given):
    with pytest.raises(BadEnvironment, match=r"(it|gear) is .* not in (Multi)?Discrete"):
        seen(space, given)


def test_a_list_is_a_tuple_where_the_space_is_one():
    space = spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (2,))])
    assert seen(space, [1, [0.5, -0.5]]).tolist() == [0.0, 1.0, 0.5, -0.5]


@pytest.mark.parametrize(
    "name, nest",
    [
        ("camera", lambda camera, speed: spaces.Dict({"camera": camera, "speed": speed})),
        ("1.0", lambda camera, speed: spaces.Tuple([speed, spaces.Tuple([camera])])),
    ],
)
def test_an_image_among_the_entries_is_refused_and_another_wrapper_leaves_it_out(name, nest):
    speed = spaces.Box(-1.0, 1.0, (2,), np.float32)
    space = nest(spaces.Box(0, 255, (32, 32, 3), np.uint8), speed)
    env = envs.describe(partial(Observing, space, space.sample())).name
    with pytest.raises(BadEnvironment, match=f"an image among its observations, {name};"):
        envs.make(env)
    assert envs.spaces_of(envs.by_name(env, inputs=(0, 1))()).observation_size == 2
    kept = {"filter_keys": ["speed"] if name == "camera" else [0]}
    filtered = envs.WrapperSpec("gymnasium.wrappers:FilterObservation", kept)
    assert envs.spaces_of(envs.by_name(env, wrappers=(filtered,))()).observation_size == 2
    small = nest(spaces.Box(0, 255, (6, 7), np.uint8), speed)
    env = envs.describe(partial(Observing, small, small.sample())).name
    assert envs.spaces_of(envs.make(env)).observation_size == 44


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (3,)])
def test_an_observation_of_another_shape_names_both_and_is_saved_before(tmp_path, shape):
    class Late(Point):
        def step(self, action):
            observation, *rest = super().step(action)
            self.steps = getattr(self, "steps", 0) + 1
            return (np.ones(shape, np.float32) if self.steps > 60 else observation), *rest

    with pytest.raises(BadEnvironment, match=r"shape \(.*\(2,\).*checkpoint of step \d+ is safe"):
        sparl.train(Late, TINY, out=tmp_path / "run", **SHORT)


class Tensor:
    """An array of another library, which knows how to become one of NumPy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


@pytest.mark.parametrize("kind", [Tensor, lambda values: array("f", values), memoryview])
def test_arrays_of_other_kinds_are_copied_too(kind):
    values = np.zeros(3, np.float32)
    given = kind(values)
    taken = arrival.copied(given)
    values += 1
    if isinstance(given, array):
        given[0] = 1
    assert np.asarray(taken).tolist() == [0.0, 0.0, 0.0]


def test_no_reward_is_no_number():
    with pytest.raises(BadEnvironment, match="the reward None is no number"):
        arrival.scalar(None)


class Paying(Point):
    """Pays the same at every step."""

    def __init__(self, pay=1.0):
        super().__init__()
        self.pay = pay

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, self.pay, *rest


def test_environments_of_one_name_are_not_taken_for_each_other(tmp_path):
    makers = [
        *(lambda pay=pay: Paying(pay) for pay in (1.0, 5.0)),
        *(partial(Paying, pay) for pay in (2.0, 3.0)),
        *(Paying(pay) for pay in (4.0, 7.0)),
    ]
    names = [envs.describe(maker).name for maker in makers]
    assert len(set(names)) == 6
    assert [envs.describe(maker).name for maker in makers] == names
    first, second = (
        sparl.train(maker, TINY, out=tmp_path / f"{i}", **SHORT)
        for i, maker in enumerate(makers[:2])
    )
    one, other = first.evaluate(1), second.evaluate(1)
    assert one.mean_return * 5 == pytest.approx(other.mean_return)


def test_a_program_that_ends_itself_is_saved_and_told_of(tmp_path):
    class Quits(Point):
        steps = 0

        def step(self, action):
            Quits.steps += 1
            if Quits.steps == 300:
                raise SystemExit(0)
            return super().step(action)

    with pytest.raises(EnvironmentFailed, match=r"raised SystemExit in .*: 0 .* is safe"):
        sparl.train(Quits, TINY, out=tmp_path / "run", **OFTEN)


def test_a_run_stays_in_its_folder_where_an_environment_leaves_the_working_one(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "assets").mkdir()
    monkeypatch.chdir(tmp_path)

    class Leaves(Point):
        def reset(self, *, seed=None, options=None):
            os.chdir(tmp_path / "assets")
            return super().reset(seed=seed, options=options)

    run = sparl.train(Leaves, TINY, out="run", **SHORT | {"quiet": False})
    assert Path.cwd() == tmp_path and not list((tmp_path / "assets").iterdir())
    assert RunFolder(tmp_path / "run").read_summary()["steps"] == 80
    assert run.evaluate(1).mean_return < 0
    assert "into run\n" in capsys.readouterr().err


def test_infos_need_not_fit_each_other(tmp_path):
    class Tells(Point):
        observation_space = spaces.Box(-9, 9, (2,), np.int64)

        def step(self, action):
            *rest, info = super().step(action)
            hits = int(self.np_random.integers(1, 5))
            return *rest, info | {"hits": np.zeros(hits), "winner": None if hits > 2 else "me"}

    run = sparl.train(Tells, TINY, out=tmp_path / "run", envs=2, **SHORT)
    assert run.evaluate(1).mean_return < 0


def test_words_of_python_are_those_of_the_command_line():
    given = words.kwargs_of(["a=False", "b=None", "c=True", 'd="False"', "e=no"])
    assert given == {"a": False, "b": None, "c": True, "d": "False", "e": "no"}
    assert words.kwargs_of(words.words_of(given)) == given


@pytest.mark.parametrize("name", ["NormalizeObservation", "NormalizeReward"])
def test_wrappers_whose_statistics_nobody_saves_are_refused(name):
    spec = envs.WrapperSpec(f"gymnasium.wrappers:{name}")
    with pytest.raises(BadValue, match=rf"{name} keeps statistics .*--normalize-observations"):
        RunConfig("environments:Point-v0", wrappers=(spec,)).maker()()


def test_an_environment_that_cannot_be_filmed_is_told_what_it_lacks():
    name = envs.describe(partial(Observing, spaces.Discrete(2), 0)).name
    with pytest.raises(BadEnvironment, match=r"To be filmed, it must take render_mode"):
        envs.make(name, render_mode="rgb_array")


def test_a_run_with_a_wrapper_around_a_class_of_a_module_is_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "lift.py").write_text(
        "from environments import Point\n\n\nclass Lift(Point):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    wrapper = envs.WrapperSpec("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 5})
    sparl.train("lift:Lift", TINY, out=tmp_path / "run", wrappers=(wrapper,), **SHORT)
    assert sparl.resume(tmp_path / "run", steps=120, quiet=True).evaluate(1).lengths == (5,)


def test_check_tells_of_observations_that_float32_cannot_tell_apart():
    class Far(Point):
        observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

        def observe(self):
            return super().observe() + np.array([0.0, 5e8])

    made = check(envs.by_name(envs.describe(Far).name), 200)
    found = [finding.what for finding in made.findings]
    assert [text for text in found if text.startswith("entries 1 lie too far from 0")]
    assert not [text for text in found if "vary by more" in text]
