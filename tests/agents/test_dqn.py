"""DQN against a second one in numpy, its exploration, and its target's moves."""

import itertools
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from dqn_reference import Reference
from reference import named
from support import (
    LATE,
    assert_follows,
    at,
    distance,
    exact_start,
    fields,
    rows,
    same_bits,
    trajectory,
)

from sparl.agents import DQN
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.methods import RNM
from sparl.replay import Columns

COLUMNS = Columns(5, 4, discrete=True)
CONFIG = DQN(hidden=(16, 12), batch_size=32, learning_rate=3e-3, tau=0.1)
COPIED = replace(CONFIG, tau=1.0, target_update_interval=7, double=False)
DECAYED = replace(CONFIG, target_update_interval=3, weight_decay=0.01)
ADAMW = replace(CONFIG, decoupled_weight_decay=1.0)
NAMED = {"double": CONFIG, "nature": COPIED, "decayed": DECAYED, "adamw": ADAMW}
UPDATES, SEED = 100, 7


def batches() -> list[np.ndarray]:
    """Rewards of twice the size: errors then lie on both sides of where Huber's loss bends."""
    rng = np.random.default_rng(0)
    drawn = [rows(rng, CONFIG.batch_size, COLUMNS) for _ in range(UPDATES)]
    for batch in drawn:
        batch[:, COLUMNS.reward] *= 2
    return drawn


@pytest.fixture(scope="module")
def double() -> list[dict]:
    return trajectory(CONFIG, COLUMNS, batches(), SEED)


def followed(reference_type: type[Reference], start: dict, config: DQN) -> list[dict]:
    reference = reference_type(
        exact_start(start),
        config.learning_rate,
        config.tau,
        config.target_update_interval,
        config.double,
        config.weight_decay,
        config.decoupled_weight_decay,
    )
    states = []
    for batch in batches():
        reference.update(fields(batch, COLUMNS))
        states.append(named(reference.online, reference.target))
    return states


@pytest.mark.parametrize("config", NAMED.values(), ids=NAMED)
def test_follows_an_independent_reference_for_100_updates(config):
    states = trajectory(config, COLUMNS, batches(), SEED)
    assert set(states[0]) == {"q", "target_q"}
    assert_follows(states, followed(Reference, states[0], config), learned=500)


class SingleNetwork(Reference):
    def chooser(self, batch, target_values):
        return target_values


class Squared(Reference):
    def clipped(self, error):
        return error


class NeverTerminates(Reference):
    def update(self, batch):
        super().update(replace(batch, terminated=np.zeros_like(batch.terminated)))


class OneStepDiscount(Reference):
    def update(self, batch):
        super().update(replace(batch, discount=np.full_like(batch.discount, 0.95)))


class LazyTarget(Reference):
    def update(self, batch):
        self.interval = 2
        super().update(batch)


class Decayed(Reference):
    def update(self, batch):
        self.weight_decay = 1e-3
        super().update(batch)


@pytest.mark.parametrize(
    "wrong", [SingleNetwork, Squared, NeverTerminates, OneStepDiscount, LazyTarget, Decayed]
)
def test_the_tolerance_tells_a_wrong_rule(double, wrong):
    expected = followed(wrong, double[0], CONFIG)
    assert distance(double[-1], expected[-1]) > 30 * LATE


def test_the_target_is_copied_every_interval_and_still_between():
    states = trajectory(COPIED, COLUMNS, batches(), SEED)
    for update, (before, after) in enumerate(itertools.pairwise(states), start=1):
        source = after["q"] if update % 7 == 0 else before["target_q"]
        for one, other in zip(after["target_q"], source, strict=True):
            assert all(same_bits(x, y) for x, y in zip(one, other, strict=True)), update


def network(x):
    """Choice 2 is the best where the first observation is positive, choice 0 elsewhere."""
    return np.stack([-x[0], 0 * x[0], x[0]])


def test_greedy_actions_are_those_of_greatest_value():
    actions = DQN().act(network, np.float32([[1, 0], [-1, 5], [3, 1]]))
    assert actions.tolist() == [2, 0, 2]
    assert np.issubdtype(actions.dtype, np.integer)


@pytest.mark.parametrize("step, share", [(0, 1.0), (500, 0.6), (1000, 0.2), (9999, 0.2)])
def test_epsilon_falls_linearly_in_environment_steps(step, share):
    config = DQN(epsilon_end=0.2, epsilon_steps=1000)
    assert config.epsilon(step) == pytest.approx(share)
    rng, seen = np.random.default_rng(0), np.tile(np.float32([1, 0]), (3000, 1))
    drawn = config.explore(network, seen, 3, step, rng)
    counts = np.bincount(drawn, minlength=3) / 3000
    # A third of the random actions happens to be the greedy one.
    expected = np.array([share / 3, share / 3, 1 - 2 * share / 3])
    assert np.abs(counts - expected).max() < 6 * (0.25 / 3000) ** 0.5


def test_without_a_fall_epsilon_is_its_end():
    assert DQN(epsilon_steps=0, epsilon_end=0.1).epsilon(0) == pytest.approx(0.1)


@pytest.mark.parametrize("config", [CONFIG, DECAYED], ids=["plain", "decayed"])
def test_a_sparse_value_network_trains_and_is_what_is_saved(config):
    engine = Engine(config, RNM("2:4", interval=10, sparse_layers="all"), COLUMNS, SEED)
    assert engine.learner.network_parts == ("q",)
    for batch in batches()[:20]:
        engine.update(batch)
    assert set(engine.restructure("reselect", at(0.0))) == {"sad_q", "kept_q"}
    observation = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    values = engine.policy()(jnp.asarray(observation.T))
    assert values.shape == (4, 9)
    assert np.asarray(values).argmax(0).tolist() == engine.act(observation).tolist()


@pytest.mark.parametrize(
    ("option", "value"),
    [("target_update_interval", 0), ("epsilon_end", 1.5), ("epsilon_steps", -1), ("n_step", 0)],
)
def test_options_out_of_range(option, value):
    with pytest.raises(BadValue, match=f"{option} is {value}"):
        DQN(**{option: value})
