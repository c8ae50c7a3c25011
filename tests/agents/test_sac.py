"""SAC against a second one in numpy, its density, and what methods see of its temperature."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import named
from sac_reference import Reference
from support import (
    LATE,
    assert_follows,
    at,
    dense_networks,
    distance,
    exact_start,
    fields,
    rows,
    trajectory,
)

from sparl.agents import SAC, sac
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.methods import RNM, Dense
from sparl.networks import Network, build, plain
from sparl.replay import Columns

COLUMNS = Columns(5, 3)
CONFIG = SAC(hidden=(16, 12), batch_size=32, learning_rate=1e-3, tau=0.05, initial_temperature=0.5)
UPDATES, SEED = 100, 7


def batches() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rows(rng, CONFIG.batch_size, COLUMNS) for _ in range(UPDATES)]


def state(engine: Engine) -> dict[str, list[list[np.ndarray]]]:
    """All networks, and the temperature as one more of them."""
    (temperature,) = np.exp(np.asarray(engine.learner.parts["temperature"].values))
    return dense_networks(engine) | {"temperature": [[np.array(temperature)]]}


@pytest.fixture(scope="module")
def dense() -> list[dict]:
    return trajectory(CONFIG, COLUMNS, batches(), SEED, state)


def followed(reference_type: type[Reference], start: dict) -> list[dict]:
    """The reference's state after each update, from the same weights, batches and noise."""
    start = {name: layers for name, layers in start.items() if name != "temperature"}
    reference = reference_type(
        exact_start(start), CONFIG.learning_rate, CONFIG.tau, CONFIG.initial_temperature
    )
    key = jax.random.split(jax.random.key(SEED), 3)[2]
    states = []
    for i, batch in enumerate(batches()):
        shape = (2, COLUMNS.action_size, CONFIG.batch_size)
        normal = np.asarray(jax.random.normal(jax.random.fold_in(key, i), shape), np.float64)
        reference.update(fields(batch, COLUMNS), normal[0].T, normal[1].T)
        networks = named(reference.online, reference.target)
        states.append(networks | {"temperature": [[np.array(reference.temperature)]]})
    return states


def test_follows_an_independent_reference_for_100_updates(dense):
    assert_follows(dense, followed(Reference, dense[0]), learned=300)


class FirstCriticAlone(Reference):
    def first_is_smaller(self, q_0, q_1):
        return np.ones_like(q_0, bool)


class HardValue(Reference):
    def bonus(self, temperature, log_prob):
        return np.zeros_like(log_prob)


class NoEntropyWanted(Reference):
    def target_entropy(self, sample):
        return 0.0


class StaleCritics(Reference):
    """The policy steps against the critics as they were before this update."""

    def update(self, batch, next_normal, normal):
        self.stale = {n: [list(la) for la in self.online[n]] for n in ("critic_0", "critic_1")}
        super().update(batch, next_normal, normal)

    def improve_policy(self, batch, sample, temperature):
        fresh, self.online = self.online, self.online | self.stale
        super().improve_policy(batch, sample, temperature)
        self.online = fresh


class EagerTemperature(Reference):
    """The policy steps with the temperature of the next update."""

    def improve_policy(self, batch, sample, temperature):
        later = temperature * np.exp(-CONFIG.learning_rate)
        super().improve_policy(batch, sample, later)


class SameNoise(Reference):
    """One set of numbers for both actions."""

    def update(self, batch, next_normal, normal):
        super().update(batch, normal, normal)


class OneStepDiscount(Reference):
    def update(self, batch, next_normal, normal):
        one = replace(batch, discount=np.full_like(batch.discount, 0.95))
        super().update(one, next_normal, normal)


@pytest.mark.parametrize(
    "wrong",
    [
        FirstCriticAlone,
        HardValue,
        NoEntropyWanted,
        StaleCritics,
        EagerTemperature,
        SameNoise,
        OneStepDiscount,
    ],
)
def test_the_tolerance_tells_a_wrong_rule(dense, wrong):
    expected = followed(wrong, dense[0])
    assert distance(dense[-1], expected[-1]) > 3 * LATE


def constant_actor(mean: float, log_std: float) -> Network:
    network = build(jax.random.key(0), (1, 2))
    head = network.layers[0]
    bias = jnp.array([mean, log_std], jnp.float32)
    return plain((type(head)(jnp.zeros_like(head.weight), bias),), False)


def test_the_density_of_actions_sums_to_one():
    """Over (-1, 1), by the trapezoidal rule: the change of variables by tanh is in it."""
    normal = np.linspace(-8, 8, 20_001, dtype=np.float32)[None]
    actions, log_prob = sac.sample(
        constant_actor(0.3, -0.5), jnp.zeros((1, normal.size)), jnp.asarray(normal)
    )
    density, x = np.exp(np.asarray(log_prob, np.float64)), np.asarray(actions[0], np.float64)
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("mean", [-60.0, 60.0])
def test_densities_of_saturated_actions_and_their_gradients_are_finite(mean):
    def log_prob(shift):
        actor = constant_actor(0.0, 0.0)
        actor = plain((type(actor.layers[0])(jnp.zeros((2, 1)), jnp.stack([shift, 0.0])),), False)
        return sac.sample(actor, jnp.zeros((1, 1)), jnp.zeros((1, 1)))[1][0]

    value, gradient = jax.value_and_grad(log_prob)(jnp.float32(mean))
    # log(1 - tanh(u)^2) is log 4 - 2 |u| there, and 1 - tanh(u)^2 itself 0 in float32.
    assert float(value) == pytest.approx(2 * abs(mean) - np.log(4) - 0.5 * np.log(2 * np.pi))
    assert float(gradient) == pytest.approx(2 * np.sign(mean))


def test_log_std_is_clipped():
    for log_std, clipped in ((9.0, 2.0), (-99.0, -20.0)):
        action, _ = sac.sample(constant_actor(0.0, log_std), jnp.zeros((1, 1)), jnp.ones((1, 1)))
        assert float(action[0, 0]) == pytest.approx(float(np.tanh(np.exp(clipped))))


def test_exploration_is_a_sample_of_the_policy():
    """Mean and standard deviation of atanh(action) over many draws, within six errors."""
    rng = np.random.default_rng(0)

    def network(x):
        return np.repeat(np.float32([[0.2], [-0.1], [-1.0], [-0.5]]), x.shape[1], axis=1)

    draws = SAC().explore(network, np.zeros((4000, 3), np.float32), 2, 0, rng)
    assert draws.dtype == np.float32
    u = np.arctanh(draws.astype(np.float64))
    std = np.exp([-1.0, -0.5])
    assert (np.abs(u.mean(0) - [0.2, -0.1]) < 6 * std / 4000**0.5).all()
    np.testing.assert_allclose(u.std(0), std, rtol=6 / 8000**0.5)
    best = SAC().act(network, np.zeros((5, 3), np.float32))
    np.testing.assert_allclose(best, np.tanh([[0.2, -0.1]] * 5), rtol=1e-6)


@pytest.mark.parametrize(
    "method",
    [
        Dense(),
        RNM("2:4", sparse_layers="all"),
        RNM("2:4", sparse_layers="all", straight_through=True),
    ],
)
def test_the_saved_policy_is_the_mean_alone(method):
    engine = Engine(CONFIG, method, COLUMNS, SEED)
    network = engine.policy()
    head = network.layers[-1]
    assert head.out_features == COLUMNS.action_size
    observation = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    actions = network(jnp.asarray(observation.T)).T
    np.testing.assert_allclose(actions, engine.act(observation), atol=1e-6)


def test_methods_and_accounting_never_see_the_temperature():
    engine = Engine(CONFIG, RNM("2:4", interval=1), COLUMNS, SEED)
    assert engine.learner.network_parts == ("actor", "critics")
    assert "temperature" in engine.learner.parts
    assert set(engine.learner.all_networks()) == {
        "actor",
        *(f"{target}critic_{i}" for target in ("", "target_") for i in range(2)),
    }
    before = np.array(engine.learner.parts["temperature"].values)
    figures = engine.restructure("reselect", at(0.0))
    networks = ("actor", "critic_0", "critic_1")
    assert set(figures) == {f"{of}_{n}" for of in ("sad", "kept") for n in networks}
    assert np.array(engine.learner.parts["temperature"].values) == before
    engine.update(batches()[0])
    assert np.array(engine.learner.parts["temperature"].values) != before


def test_a_straight_through_decay_leaves_the_temperature_alone():
    method = RNM("2:4", sparse_layers="all", straight_through=True)
    engine = Engine(CONFIG, method, COLUMNS, SEED)
    engine.update(batches()[0])
    (moved,) = np.asarray(engine.learner.parts["temperature"].values)
    # Adam's first step is the learning rate, whatever the gradient.
    assert abs(moved - np.log(0.5)) == pytest.approx(CONFIG.learning_rate, rel=1e-3)


def test_options_out_of_range():
    with pytest.raises(BadValue, match="initial_temperature is 0"):
        SAC(initial_temperature=0.0)
    with pytest.raises(BadValue, match="target_entropy is nan"):
        SAC(target_entropy=float("nan"))


def test_defaults_are_those_of_the_paper():
    """1812.05905, table 1; random steps as in the authors' code."""
    config = SAC()
    assert (config.learning_rate, config.gamma, config.tau) == (3e-4, 0.99, 0.005)
    assert (config.hidden, config.batch_size) == ((256, 256), 256)
    assert (config.target_entropy, config.learning_starts) == (None, 10_000)
