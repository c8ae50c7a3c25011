"""Environments as users write them: reused arrays, rewards of any form, any Box, many actions."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest
from environments import OFTEN, TINY, TINY_DQN
from gymnasium import spaces

import sparl
from sparl import envs
from sparl.config import RunConfig
from sparl.errors import BadEnvironment, BadValue
from sparl.linear_mdp import collect, uniformly
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder

VECTOR = spaces.Box(-np.inf, np.inf, (2,), np.float32)
PUSH = spaces.Box(-1.0, 1.0, (1,), np.float32)


class Own(gym.Env):
    """Counts its steps in a buffer that it gives every time; keeps the actions it was given."""

    observation_space: spaces.Space = VECTOR
    action_space: spaces.Space = PUSH

    def __init__(self, reward: Any = 1.0, limit: int = 20, **_: Any) -> None:
        self.reward, self.limit = reward, limit
        self.buffer = np.zeros(2, np.float32)
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.buffer[:] = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        assert self.action_space.contains(action), action
        assert not any(np.shares_memory(action, kept) for kept in self.actions)
        self.actions.append(action)
        self.buffer[0] += 1
        return self.observe(), self.reward, False, bool(self.buffer[0] == self.limit), {}

    def observe(self) -> Any:
        return self.buffer


class Choosing(Own):
    action_space = spaces.Discrete(2)


def stored(folder, observations=2, actions=1, discrete=False):
    """The observations before and after each step of a run's replay."""
    replay = Replay(1000, Columns(observations, actions, discrete))
    RunFolder(folder).checkpoints.load_replay(200, replay)
    batch = replay.columns.split(jnp.asarray(replay.span(0, 200)))
    return np.asarray(batch.observation), np.asarray(batch.next_observation)


@pytest.mark.parametrize("options", [{}, {"envs": 2}], ids=["one", "two"])
def test_a_reused_buffer_is_copied_on_arrival(tmp_path, options):
    run = sparl.train(Own, TINY, out=tmp_path / "run", **OFTEN | options)
    before, after = stored(run.folder)
    np.testing.assert_array_equal(after[:, 0], before[:, 0] + 1)


def test_frames_of_a_reused_buffer_differ(tmp_path):
    env = envs.EnvMaker("own", envs.find(envs.describe(Own).name), frame_stack=3)()
    env.reset()
    for _ in range(4):
        observation, *_ = env.step(np.zeros(1, np.float32))
    np.testing.assert_array_equal(observation[:, 0], [2, 3, 4])


def test_data_for_lasso_is_copied(tmp_path):
    found = collect(Choosing(), uniformly(2), episodes=1)
    np.testing.assert_array_equal(found.next_observations[:, 0], np.arange(1, 21))


@pytest.mark.parametrize(
    "reward", [1, np.float32(1), np.array(1.0), np.ones(1), np.ones((1, 1)), [1.0], True]
)
def test_rewards_of_every_scalar_form_are_taken(reward):
    env = envs.EnvMaker("own", envs.find(envs.describe(Own).name), {"reward": reward})()
    env.reset()
    given = env.step(np.zeros(1, np.float32))[1]
    assert type(given) is float
    assert given == 1.0


def test_a_tuple_of_numbers_is_an_observation_of_a_box():
    kind = type("Kind", (Own,), {"observe": lambda self: tuple(self.buffer)})
    env = envs.EnvMaker("own", envs.find(envs.describe(kind).name))()
    first, _ = env.reset()
    after = env.step(np.zeros(1, np.float32))[0]
    assert (first.tolist(), after.tolist()) == ([0, 0], [1, 0])


@pytest.mark.parametrize("reward, message", [([1, 1, 1], r"shape \(3,\)"), ("much", "no number")])
def test_rewards_that_are_no_number_are_refused(tmp_path, reward, message):
    with pytest.raises(BadEnvironment, match=message):
        sparl.train(Own, TINY, out=tmp_path / "run", env_kwargs={"reward": reward}, **OFTEN)


def acting_in(action_space: spaces.Space, observation_space: spaces.Space = VECTOR) -> type[Own]:
    kind = type("Kind", (Own,), {})
    kind.action_space, kind.observation_space = action_space, observation_space
    if observation_space is not VECTOR:
        kind.observe = lambda self: observation_space.sample()
    return kind


CONTINUOUS = {
    "no-axis": spaces.Box(-1.0, 1.0, (), np.float32),
    "two-axes": spaces.Box(-1.0, 1.0, (1, 4), np.float32),
    "float64": spaces.Box(-0.1, 0.1, (2,), np.float64),
    "float16": spaces.Box(-0.1, 0.3, (2,), np.float16),
}


@pytest.mark.parametrize("space", CONTINUOUS.values(), ids=CONTINUOUS)
def test_actions_lie_in_any_box(tmp_path, space):
    """The environment refuses what its space does not contain; arrays are never given twice."""
    kind = acting_in(space)
    run = sparl.train(kind, TINY, out=tmp_path / "run", **OFTEN)
    spaces_of_it = run.policy.spaces
    for extreme in (-1.0, -1.5, 1.0, 1.5):
        action = np.full(spaces_of_it.action_size, extreme, np.float32)
        assert space.contains(spaces_of_it.to_env_action(action))
    assert space.contains(run.predict(np.zeros(2, np.float32))[0])


def test_integers_between_bounds_are_refused_or_rounded(tmp_path):
    kind = acting_in(spaces.Box(-3, 5, (2,), np.int32))
    with pytest.raises(BadEnvironment, match=r"integers between bounds .*MultiDiscrete.*round_act"):
        sparl.train(kind, TINY, out=tmp_path / "run", **OFTEN)
    run = sparl.train(kind, TINY, out=tmp_path / "run", round_actions=True, **OFTEN)
    seen = run.policy.spaces.to_env_action(np.float32([[-1, 1], [0.12, 0.13]]))
    np.testing.assert_array_equal(seen, [[-3, 5], [1, 2]])
    assert seen.dtype == np.int32


SEVERAL = {
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "multi-binary": spaces.MultiBinary(3),
    "from-5": spaces.MultiDiscrete([2, 2], start=[5, -1]),
    "grid": spaces.MultiDiscrete([[2, 3], [2, 2]]),
}


@pytest.mark.parametrize("space", SEVERAL.values(), ids=SEVERAL)
def test_several_discrete_actions_are_numbered(space):
    found = envs.spaces_for("it", VECTOR, space)
    actions = found.to_env_action(np.arange(found.choices))
    assert all(space.contains(action) for action in actions)
    assert len({action.tobytes() for action in actions}) == found.choices


INVERTED = CONTINUOUS | {
    "uneven": spaces.Box(np.float32([-1.0, 0.7]), np.float32([3.0, 0.7])),
    "wide": spaces.Box(-8e307, 8e307, (2,), np.float64),
    "integers": spaces.Box(-3, 5, (2,), np.int32),
}


@pytest.mark.parametrize("space", INVERTED.values(), ids=INVERTED)
def test_continuous_actions_come_back_as_agents_give_them(space):
    found = envs.spaces_for("it", VECTOR, space, round_actions=True)
    space.seed(0)
    taken = np.stack([space.sample() for _ in range(20)] + [space.low, space.high])
    actions = found.from_env_action(taken)
    assert actions.dtype == np.float32 and actions.shape == (22, found.action_size)
    varied = np.asarray(found.low) < found.high
    assert (actions[-2:, varied] == [[-1.0], [1.0]]).all() and not actions[:, ~varied].any()
    again = found.to_env_action(actions).astype(np.float64)
    size = np.float64(0.5) * space.high - np.float64(0.5) * space.low
    np.testing.assert_allclose(
        again / 2, taken.astype(np.float64) / 2, rtol=0, atol=1e-3 * size.max()
    )
    np.testing.assert_array_equal(found.from_env_action(taken.reshape(22, -1)), actions)


@pytest.mark.parametrize("space", [*SEVERAL.values(), spaces.Discrete(4, start=-2)])
def test_discrete_actions_come_back_as_agents_give_them(space):
    found = envs.spaces_for("it", VECTOR, space)
    numbers = np.arange(found.choices)
    taken = found.to_env_action(numbers)
    assert found.from_env_action(taken.astype(np.float32)).tolist() == numbers.tolist()
    taken[1] = 9
    with pytest.raises(BadValue, match=rf"1 of {found.choices} actions are outside .* number 1, "):
        found.from_env_action(taken)


@pytest.mark.parametrize("wrong", [1.0001, -1.1, np.nan, np.inf])
def test_actions_out_of_bounds_are_counted(wrong):
    found = envs.spaces_for("it", VECTOR, spaces.Box(-1.0, 0.7, (2,), np.float32))
    taken = np.full((5, 2), 0.7)  # which is above 0.7 in float32
    found.from_env_action(taken)
    taken[[2, 4], 1] = wrong
    with pytest.raises(BadValue, match=r"2 of 5 actions .*\(-1.0, -1.0\) to .* number 2, \[0.7, "):
        found.from_env_action(taken)


def test_an_agent_learns_with_several_discrete_actions(tmp_path):
    run = sparl.train(acting_in(SEVERAL["multi-discrete"]), TINY_DQN, out=tmp_path / "run", **OFTEN)
    assert SEVERAL["multi-discrete"].contains(run.predict(np.zeros(2, np.float32))[0])


def test_too_many_combinations_are_refused():
    with pytest.raises(BadEnvironment, match=r"8192 combinations .*at most 4096"):
        envs.spaces_for("it", VECTOR, spaces.MultiBinary(13))


OBSERVED = {
    "board": spaces.Box(0, 2, (6, 7), np.uint8),
    "row": spaces.Box(-1.0, 1.0, (1, 5), np.float64),
    "number": spaces.Box(-1.0, 1.0, (), np.float32),
    "discrete": spaces.Discrete(5, start=2),
    "bits": spaces.MultiBinary(3),
    "dict": spaces.Dict(
        {
            "robot": spaces.Dict(
                {"angle": spaces.Box(-1.0, 1.0, (2,)), "mode": spaces.Discrete(3)}
            ),
            "goal": spaces.Box(-1.0, 1.0, (2, 2), np.float64),
        }
    ),
    "unsorted": spaces.Dict(state=VECTOR, goal=spaces.Dict(y=VECTOR, x=spaces.Discrete(3))),
    "tuple": spaces.Tuple([spaces.MultiDiscrete([2, 3]), spaces.Box(0.0, 1.0, (1,))]),
}


@pytest.mark.parametrize("space", OBSERVED.values(), ids=OBSERVED)
def test_observations_are_flattened_as_gymnasium_does(space):
    kind = acting_in(PUSH, space)
    env = envs.EnvMaker("it", envs.find(envs.describe(kind).name))()
    found = envs.spaces_of(env)
    space.seed(0)
    for _ in range(10):
        observation = space.sample()
        wanted = np.asarray(spaces.flatten(space, observation), np.float32)
        np.testing.assert_array_equal(found.flat(observation), wanted)
        assert found.flat(wanted.reshape(found.observation_shape)).shape == wanted.shape


def test_policies_of_before_see_entries_sorted_by_name():
    """Their structure does not say that entries come in its order."""
    listed = [["b", {"kind": "Box", "shape": [1]}], ["a", {"kind": "Box", "shape": [2]}]]
    recorded = {"kind": "Dict", "spaces": listed}
    old = envs.Spaces((3,), (1,), (-1.0,), (1.0,), structure=recorded)
    new = envs.Spaces((3,), (1,), (-1.0,), (1.0,), structure=recorded | {"ordered": True})
    observation = {"a": np.float32([1, 2]), "b": np.float32([3])}
    assert old.flat(observation).tolist() == [1, 2, 3]
    assert new.flat(observation).tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    "shape, options",
    [
        ((), {}),
        ((6, 7), {"autoreset": "same_step"}),
        ((1, 5), {"autoreset": "next_step"}),
        ((2,), {"frame_stack": 3}),
        ((1, 5), {"frame_stack": 3, "autoreset": "same_step"}),
    ],
    ids=str,
)
def test_several_environments_have_observations_of_any_shape(tmp_path, shape, options):
    kind = acting_in(PUSH, spaces.Box(-9.0, 9.0, shape, np.float32))
    run = sparl.train(kind, TINY, out=tmp_path / "run", envs=2, **OFTEN | options)
    size = max(1, int(np.prod(shape))) * options.get("frame_stack", 1)
    assert run.policy.spaces.observation_size == size
    before, after = stored(run.folder, size)
    assert np.isfinite(before).all() and before.shape == after.shape == (200, size)


def test_entries_keep_their_names():
    env = envs.EnvMaker("it", envs.find(envs.describe(acting_in(PUSH, OBSERVED["dict"])).name))
    entries = envs.spaces_of(env()).entries
    assert entries == (("goal", 4), ("robot.angle", 2), ("robot.mode", 3))
    chosen = envs.EnvMaker("it", env.source, inputs=(1, 4, 8))()
    names = [entry.name for entry in envs.spaces_of(chosen).entries]
    assert names == ["goal[1]", "robot.angle[0]", "robot.mode[2]"]


@pytest.mark.parametrize(
    "space, message",
    [
        (spaces.Box(0, 255, (64, 64, 3), np.uint8), "image"),
        (spaces.Sequence(spaces.Discrete(2)), "not fixed"),
        (spaces.Dict(at=VECTOR, mission=spaces.Text(5)), "not fixed.*FilterObservation"),
        (spaces.OneOf([VECTOR, spaces.Discrete(2)]), "not fixed"),
        (spaces.Box(0.0, 1.0, (0,)), "empty"),
    ],
    ids=["image", "sequence", "text", "one of", "empty"],
)
def test_observations_that_cannot_be_learned_from_are_refused(tmp_path, space, message):
    with pytest.raises(BadEnvironment, match=message):
        sparl.train(acting_in(PUSH, space), TINY, out=tmp_path / "run", **OFTEN)
    assert not (tmp_path / "run").exists()


def test_a_run_of_named_entries_takes_them_by_name(tmp_path):
    space = OBSERVED["dict"]
    run = sparl.train(acting_in(PUSH, space), TINY, out=tmp_path / "run", **OFTEN)
    observation = space.sample()
    by_name, _ = run.predict(observation)
    flat, _ = sparl.Policy.load(run.folder / "policy").predict(
        spaces.flatten(space, observation).astype(np.float32)
    )
    np.testing.assert_array_equal(by_name, flat)
    with pytest.raises(BadEnvironment, match="structure"):
        run.predict({"goal": observation["goal"]})
    longer = {"robot": observation["robot"] | {"angle": np.zeros(3, np.float32)}}
    with pytest.raises(BadEnvironment, match=r"robot\.angle has 3 numbers and not 2"):
        run.predict(observation | longer)


def test_a_run_config_says_which_options_cannot_be():
    with pytest.raises(BadValue, match="frame_stack is 0"):
        RunConfig("CartPole-v1", frame_stack=0)
    with pytest.raises(BadValue, match="max_episode_steps is 0"):
        RunConfig("CartPole-v1", max_episode_steps=0)
