"""`predict` takes what environments give, alone or in a batch, also where that is flattened."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import jax
import numpy as np
import pytest
from gymnasium import spaces

from sparl import launch
from sparl.envs import spaces_of
from sparl.errors import BadEnvironment
from sparl.networks import build
from sparl.policy import Policy


class Sees(gym.Env):
    """Has an observation space, and nothing happens."""

    action_space = spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, space):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


SPACES = {
    "discrete": spaces.Discrete(3, start=1),
    "several": spaces.MultiDiscrete([3, 2]),
    "dict": spaces.Dict({"b": spaces.Box(-1, 1, (2,)), "a": spaces.Discrete(4)}),
    "nested": spaces.Tuple((spaces.Dict({"x": spaces.Box(-1, 1, ())}), spaces.MultiBinary(2))),
}


def policy_of(space) -> Policy:
    found = spaces_of(launch.configured(lambda **_: Sees(space), {}).maker()())
    network = build(jax.random.key(0), (found.observation_size, 8, 2), squash=True)
    return Policy(network, found, np.zeros((1, found.observation_size), np.float32))


def batched(space, items):
    """As vector environments give them: arrays, in the structure of the space."""
    if isinstance(space, spaces.Dict):
        return {k: batched(s, [item[k] for item in items]) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(batched(s, [item[i] for item in items]) for i, s in enumerate(space.spaces))
    return np.stack([np.asarray(item) for item in items])


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_batch_gives_what_its_observations_give_one_by_one(name, count):
    space, policy = SPACES[name], policy_of(SPACES[name])
    space.seed(0)
    items = [space.sample() for _ in range(count)]
    alone = np.stack([policy.predict(item)[0] for item in items])
    together, _ = policy.predict(batched(space, items))
    assert alone.shape == together.shape == (count, 2)
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_a_number_of_choices_is_no_flat_observation():
    policy = policy_of(SPACES["discrete"])
    flat = np.eye(3, dtype=np.float32)
    numbers, _ = policy.predict(np.array([1, 2, 3]))
    np.testing.assert_allclose(numbers, policy.predict(flat)[0], rtol=1e-5, atol=1e-6)


def test_tuples_and_lists_are_taken_as_the_environment_may_give_them():
    box = policy_of(spaces.Box(-1, 1, (3,)))
    as_tuple, _ = box.predict((0.1, 0.2, 0.3))
    np.testing.assert_array_equal(as_tuple, box.predict(np.float32([0.1, 0.2, 0.3]))[0])
    nested = policy_of(SPACES["nested"])
    of = {"x": np.float32(0.5)}, np.array([0, 1], np.int8)
    np.testing.assert_array_equal(nested.predict([*of])[0], nested.predict(of)[0])


@pytest.mark.parametrize(
    "observation",
    [np.zeros(5, np.float32), {"b": np.zeros((2, 2)), "a": 1}, {"b": np.zeros(2)}, "abc"],
)
def test_what_has_another_structure_is_refused(observation):
    with pytest.raises(BadEnvironment, match="an observation"):
        policy_of(SPACES["dict"]).predict(observation)


def test_a_policy_that_has_acted_can_be_copied_and_pickled():
    policy = policy_of(spaces.Box(-1, 1, (3,)))
    seen = np.float32([0.1, -0.2, 0.3])
    action, _ = policy.predict(seen)
    for other in (copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):
        np.testing.assert_array_equal(other.predict(seen)[0], action)
