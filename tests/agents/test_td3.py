"""TD3 against a second one in numpy, RNM with N = M against dense, and what a batch may say."""

import itertools
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import jax
import numpy as np
import pytest
from reference import named
from support import (
    LATE,
    adam_state,
    assert_follows,
    at,
    dense_networks,
    distance,
    exact_start,
    fields,
    rows,
    same_bits,
    stored,
    trajectory,
)
from td3_reference import Reference

from sparl.agents import SAC, TD3
from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.methods import RNM, Dense
from sparl.replay import Columns
from sparl.storage import RunFolder
from sparl.training import Trainer

COLUMNS = Columns(5, 3)
# Larger steps, more smoothing and a noise bound that often binds: every rule then shows within
# 100 updates. A delay of 3 tells "every third" from "the first of three".
CONFIG = TD3(
    hidden=(16, 12),
    batch_size=32,
    learning_rate=1e-3,
    tau=0.05,
    policy_noise=0.4,
    noise_clip=0.3,
    policy_delay=3,
)
UPDATES, SEED = 100, 7


def batches() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rows(rng, CONFIG.batch_size, COLUMNS) for _ in range(UPDATES)]


def moments(engine: Engine) -> dict[str, list[np.ndarray]]:
    """Both Adam moments of every layer in dense coordinates."""
    found = {}
    for part, structure in engine.learner.structures.items():
        state = engine.learner.parts[part]
        adam = adam_state(state.optimizer)
        for moment in (adam.mu, adam.nu):
            for name, network in structure.networks(moment, state.indices).items():
                for la in network.layers:
                    found.setdefault(name, []).extend([stored(la, la.weight), np.array(la.bias)])
    return found


@pytest.fixture(scope="module")
def dense() -> list[dict]:
    """The six networks."""
    return trajectory(CONFIG, COLUMNS, batches(), SEED)


def followed(reference_type: type[Reference], start: dict, config: TD3 = CONFIG) -> list[dict]:
    """The reference's six networks after each update, from the same weights, batches, noise."""
    reference = reference_type(
        exact_start(start),
        CONFIG.learning_rate,
        CONFIG.tau,
        CONFIG.policy_noise,
        CONFIG.noise_clip,
        CONFIG.policy_delay,
        config.behaviour_cloning,
    )
    # The engine's own stream: the third key of the seed, folded with the number of the update.
    key = jax.random.split(jax.random.key(SEED), 3)[2]
    states = []
    for i, batch in enumerate(batches()):
        shape = (COLUMNS.action_size, CONFIG.batch_size)
        noise = jax.random.normal(jax.random.fold_in(key, i), shape)
        reference.update(fields(batch, COLUMNS), np.asarray(noise, np.float64).T)
        states.append(named(reference.online, reference.target))
    return states


def test_follows_an_independent_reference_for_100_updates(dense):
    assert_follows(dense, followed(Reference, dense[0]), learned=500)


class SingleCritic(Reference):
    def pessimistic(self, q_0, q_1):
        return q_0


class UnclippedNoise(Reference):
    def smoothing(self, noise):
        return self.policy_noise * noise


class NeverTerminates(Reference):
    def goes_on(self, batch):
        return np.ones_like(batch.terminated)


class OneStepDiscount(Reference):
    def update(self, batch, noise):
        super().update(replace(batch, discount=np.full_like(batch.discount, 0.95)), noise)


class EagerTargets(Reference):
    def targets_follow(self):
        return True


class UndelayedPolicy(Reference):
    def update(self, batch, noise):
        super().update(batch, noise)
        if self.updates % self.policy_delay:
            self.improve_policy(batch)


class StaleCritics(Reference):
    """The policy steps against the critics as they were before this update."""

    def update(self, batch, noise):
        if (self.updates + 1) % self.policy_delay == 0:
            super().improve_policy(batch)
        super().update(batch, noise)

    def improve_policy(self, batch):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        SingleCritic,
        UnclippedNoise,
        NeverTerminates,
        OneStepDiscount,
        EagerTargets,
        UndelayedPolicy,
        StaleCritics,
    ],
)
def test_the_tolerance_tells_a_wrong_rule(dense, wrong):
    expected = followed(wrong, dense[0])
    assert distance(dense[-1], expected[-1]) > 30 * LATE


CLONING = replace(CONFIG, behaviour_cloning=2.5)


@pytest.fixture(scope="module")
def cloning() -> list[dict]:
    return trajectory(CLONING, COLUMNS, batches(), SEED)


def test_behaviour_cloning_follows_an_independent_reference(cloning):
    assert_follows(cloning, followed(Reference, cloning[0], CLONING), learned=500)


class SummedImitation(Reference):
    def imitation(self, action, logged):
        return super().imitation(action, logged) * action.shape[1]


class UnscaledValues(Reference):
    def by_q(self, q):
        return np.full_like(q, -self.behaviour_cloning / len(q))


class DifferentiatedScale(Reference):
    def by_q(self, q):
        size = np.abs(q).mean()
        return super().by_q(q) * (1 - q.mean() * np.sign(q) / size)


class NoImitation(Reference):
    def imitation(self, action, logged):
        return 0 * action


@pytest.mark.parametrize(
    "wrong", [SummedImitation, UnscaledValues, DifferentiatedScale, NoImitation]
)
def test_the_tolerance_tells_wrong_cloning(cloning, wrong):
    expected = followed(wrong, cloning[0], CLONING)
    assert distance(cloning[-1], expected[-1]) > 30 * LATE


def test_policy_and_all_targets_move_only_every_policy_delay_updates(dense):
    for update, (before, after) in enumerate(itertools.pairwise(dense), start=1):
        delayed = update % CONFIG.policy_delay == 0
        for name in before:
            moves = delayed or name in ("critic_0", "critic_1")
            same = [
                same_bits(x, y)
                for one, other in zip(before[name], after[name], strict=True)
                for x, y in zip(one, other, strict=True)
            ]
            assert not any(same) if moves else all(same), (update, name)


def test_rnm_with_n_equal_to_m_equals_dense_bit_for_bit(default_emitter, monkeypatch):
    """In plain JAX: kernels add up in another order than XLA's dense product."""
    monkeypatch.setattr("sparl.kernels.native.why_not", "it is not wanted")
    dense = Engine(CONFIG, Dense(), COLUMNS, SEED)
    sparse = Engine(CONFIG, RNM("4:4", sparse_layers="all"), COLUMNS, SEED)
    for i, batch in enumerate(batches(), start=1):
        dense.update(batch)
        sparse.update(batch)
        if i % 20 == 0:
            figures = sparse.restructure("reselect", at(0.0))
            assert all(v == 0 for name, v in figures.items() if name.startswith("sad"))
    expected, got = dense_networks(dense), dense_networks(sparse)
    assert set(got) == set(expected)
    assert all(
        same_bits(x, y)
        for name in expected
        for one, other in zip(expected[name], got[name], strict=True)
        for x, y in zip(one, other, strict=True)
    )
    expected, got = moments(dense), moments(sparse)
    assert all(
        same_bits(x, y) for name in expected for x, y in zip(expected[name], got[name], strict=True)
    )
    observation = batches()[0][:4, : COLUMNS.observation_size]
    # XLA may put a transposition before a product or behind it, which rounds otherwise.
    np.testing.assert_allclose(dense.act(observation), sparse.act(observation), atol=1e-6)
    assert dense.take_metrics() == sparse.take_metrics()


def test_defaults_are_those_of_the_paper_but_for_the_rate():
    """RNM-TD3, 2602.14578: 2 x 256, batch 256, … Its rate is 3e-4."""
    assert vars(TD3()) == {
        "network": "mlp",
        "hidden": (256, 256),
        "activation": "relu",
        "learning_rate_schedule": "constant",
        "learning_rate_end": 0.0,
        "learning_rate_by_density": False,
        "max_grad_norm": None,
        "train_freq": 1,
        "train_unit": "steps",
        "gradient_steps": 1,
        "critic_hidden": (),
        "representation": "none",
        "representation_units": 240,
        "representation_layers": 6,
        "representation_targets": 0,
        "representation_updates": 10_000,
        "pessimism": "min",
        "norm": "none",
        "norm_place": "before",
        "norm_input": True,
        "renorm_from": None,
        "learning_rate": 1e-3,
        "beta1": 0.9,
        "batch_size": 256,
        "gamma": 0.99,
        "tau": 0.005,
        "weight_decay": 0.0,
        "decoupled_weight_decay": 0.0,
        "n_step": 1,
        "n_step_from": 0,
        "policy_noise": 0.2,
        "noise_clip": 0.5,
        "policy_delay": 2,
        "exploration_noise": 0.1,
        "behaviour_cloning": 0.0,
        "learning_starts": 25_000,
    }


class Ends(gym.Env):
    """Episodes of 3 steps, ended in turn by the environment and by a time limit.

    Observations count the steps, so that each says where it comes from.
    """

    observation_space = gym.spaces.Box(-100, 100, (1,), np.float32)
    action_space = gym.spaces.Box(np.array([0, -10], np.float32), np.array([4, 10], np.float32))
    made: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self.episode, self.taken = -1, []
        self.made.append(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return np.array([0], np.float32), {}

    def step(self, action):
        self.taken.append(action)
        self.t += 1
        ended, by_itself = self.t == 3, self.episode % 2 == 0
        observation = np.array([self.t], np.float32)
        return observation, 1.0, ended and by_itself, ended and not by_itself, {}


def test_a_time_limit_is_stored_as_no_end_and_actions_as_the_agent_gave_them(tmp_path):
    gym.register("sparl-test/Ends-v0", Ends)
    try:
        run = RunConfig("sparl-test/Ends-v0", steps=12, eval_episodes=1)
        trainer = Trainer(RunFolder(tmp_path), run, TD3(hidden=(4,)), Dense(), quiet=True)
        trainer.run()
    finally:
        del gym.registry["sparl-test/Ends-v0"]
    observation, action, reward, following, terminated, ended = np.split(
        trainer.replay.span(0, 12), [1, 3, 4, 5, 6], axis=1
    )
    assert terminated[:, 0].tolist() == [0, 0, 1, 0, 0, 0] * 2
    assert ended[:, 0].tolist() == [0, 0, 1] * 4
    assert observation[:, 0].tolist() == [0, 1, 2] * 4
    # The last observation of an episode, not the first of the next.
    assert following[:, 0].tolist() == [1, 2, 3] * 4
    assert reward.tolist() == [[1.0]] * 12
    # In [-1, 1] in the replay, in the environment's own bounds at its door.
    assert np.abs(action).max() <= 1
    taken = np.array(Ends.made[0].taken)  # evaluation has others
    np.testing.assert_allclose(taken, action * [2, 10] + [2, 0], rtol=1e-5, atol=1e-5)
    assert np.ptp(taken[:, 1]) > 5


@pytest.mark.parametrize("config", [TD3, SAC])
def test_critics_may_have_other_widths_than_the_actor(config):
    engine = Engine(config(hidden=(4,), critic_hidden=(6, 5)), Dense(), Columns(3, 2), seed=0)
    assert [out for out, _ in engine.shapes["actor"][:-1]] == [4]
    assert engine.shapes["critic_0"] == engine.shapes["critic_1"] == ((6, 5), (5, 6), (1, 5))
    with pytest.raises(BadValue, match="critic_hidden is 0: it must be above 0"):
        config(critic_hidden=(6, 0))
