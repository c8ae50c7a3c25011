"""XQC against a second one in numpy, and the parts that it alone has."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import LATE, distance, fields, rows
from xqc_reference import Passed, Reference

from sparl.agents import XQC
from sparl.agents.common.categorical import Atoms
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.methods import RNM, Dense
from sparl.replay import Columns

COLUMNS = Columns(5, 3)
CONFIG = XQC(
    hidden=(16, 12), critic_hidden=(14, 10), batch_size=32, activation="tanh", bins=21,
    learning_rate=1e-3,
)  # fmt: skip
UPDATES, PLANNED, SEED = 60, 120, 7


def batches() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rows(rng, CONFIG.batch_size, COLUMNS) for _ in range(UPDATES)]


def rewards() -> tuple[np.ndarray, np.ndarray]:
    """Of steps before the first update, and whether an episode ended with each."""
    rng = np.random.default_rng(1)
    return rng.normal(3.0, 2.0, 200), rng.uniform(size=200) < 0.05


def layers_of(network: Any) -> list[list[np.ndarray]]:
    (of_input, *_) = network.input_norms
    hidden = zip(network.layers[:-1], network.norms[:-1], strict=True)
    head = network.layers[-1]
    arrays = [
        [*vars(of_input).values()],
        *([layer.weight, *vars(norm).values()] for layer, norm in hidden),
        [head.weight, head.bias],
    ]
    return [[np.array(a) for a in layer] for layer in arrays]


def apart(a: dict, b: dict) -> float:
    """Shifts and biases start at 0, and the mean of the first hidden layer's sums stays there."""
    return distance(a, b, shortest=1e-3)


def state(engine: Engine) -> dict[str, list[list[np.ndarray]]]:
    """All networks with their norms, and the temperature as one more of them."""
    (temperature,) = np.exp(np.asarray(engine.learner.parts["temperature"].values))
    networks = engine.learner.all_networks()
    for network in networks.values():  # what a norm takes away again is never there
        assert not any(np.any(np.asarray(layer.bias)) for layer in network.layers[:-1])
    found = {name: layers_of(network) for name, network in networks.items()}
    return found | {"temperature": [[np.array(temperature)]]}


@pytest.fixture(scope="module")
def found() -> list[dict]:
    engine = Engine(CONFIG, Dense(), COLUMNS, SEED, planned_updates=PLANNED)
    seen, ended = rewards()
    for i in range(0, 200, 10):  # in pieces, as they come
        engine.reward(seen[i : i + 10], ended[i : i + 10])
    states = [state(engine)]
    for batch in batches():
        engine.update(batch)
        states.append(state(engine))
    return states


def followed(reference_type: type[Reference], start: dict) -> list[dict]:
    """The reference's state after each update, from the same weights, batches and noise."""
    exact = {
        name: [[a.astype(np.float64) for a in layer] for layer in start[name]]
        for name in ("actor", "critic_0", "critic_1")
    }
    reference = reference_type(exact, CONFIG.learning_rate, CONFIG.bins, PLANNED)
    reference.rewards(*rewards(), CONFIG.gamma)
    key = jax.random.split(jax.random.key(SEED), 3)[2]
    states = []
    for i, batch in enumerate(batches()):
        shape = (2, COLUMNS.action_size, CONFIG.batch_size)
        normal = np.asarray(jax.random.normal(jax.random.fold_in(key, i), shape), np.float64)
        reference.update(fields(batch, COLUMNS), normal[0].T, normal[1].T)
        networks = reference.online | {f"target_{n}": la for n, la in reference.target.items()}
        held = {name: [list(la) for la in layers] for name, layers in networks.items()}
        states.append(held | {"temperature": [[np.array(reference.temperature)]]})
    return states


def test_follows_an_independent_reference(found):
    expected = followed(Reference, found[0])
    distances = [apart(a, b) for a, b in zip(found[1:], expected, strict=True)]
    assert max(distances) < LATE
    for name in found[0]:
        assert apart({name: found[0][name]}, {name: expected[-1][name]}) > 10 * LATE


class Apart(Reference):
    """(s', a') is normalised by its own statistics."""

    def next_logits(self, inputs, next_inputs):
        return [Passed(layers, next_inputs).output for layers in self.target.values()]


class ByRunningStatistics(Reference):
    """Target critics are in evaluation mode."""

    def next_logits(self, inputs, next_inputs):
        return [Passed(layers, next_inputs, False).output for layers in self.target.values()]


class WithoutTargets(Reference):
    tau = 1.0


class FirstCritic(Reference):
    def chosen(self, p):
        return p[0]


class NearestBin(Reference):
    """A return goes to the nearest bin, whole."""

    def projected(self, p, discount, shift):
        target, gap = np.zeros_like(p), self.values[1] - self.values[0]
        moved = np.clip(shift[:, None] + discount[:, None] * self.values, -5, 5)
        nearest = np.round((moved + 5) / gap).astype(int)
        np.add.at(target, (np.arange(len(p))[:, None], nearest), p)
        return target


class RawRewards(Reference):
    deviation = 1.0  # type: ignore[assignment]


class AnyLength(Reference):
    def constrain(self, layers):
        pass


class BiasLeftOut(Reference):
    """The head's bias does not count."""

    def constrain(self, layers):
        bias = layers[-1][1]
        layers[-1][1] = np.zeros_like(bias)
        super().constrain(layers)
        layers[-1][1] = bias


class ConstantRate(Reference):
    last_rate = 1.0


class FullEntropy(Reference):
    entropy = 1.0


class Eager(Reference):
    delay = 1


WRONG = [
    *(Apart, ByRunningStatistics, WithoutTargets, FirstCritic, NearestBin, RawRewards, AnyLength),
    *(BiasLeftOut, ConstantRate, FullEntropy, Eager),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_tolerance_tells_a_wrong_rule(found, wrong):
    expected = followed(wrong, found[0])
    assert apart(found[-1], expected[-1]) > 3 * LATE


def test_a_moved_distribution_keeps_its_mean_within_the_bounds():
    atoms = Atoms(-5.0, 5.0, 11)
    p = jax.nn.softmax(jnp.asarray(np.random.default_rng(0).normal(size=(11, 4))), axis=0)
    factor, shift = jnp.array([0.5, 0.0, 1.0, 1.0]), jnp.array([0.3, 1.25, 0.0, 20.0])
    moved = atoms.projected(p, factor, shift)
    np.testing.assert_allclose(moved.sum(0), 1.0, rtol=1e-6)
    mean = atoms.mean(p)
    expected = [0.5 * mean[0] + 0.3, 1.25, mean[2], 5.0]
    np.testing.assert_allclose(atoms.mean(moved), expected, rtol=1e-5)
    np.testing.assert_allclose(moved[:, 2], p[:, 2], atol=1e-7)
    assert np.flatnonzero(moved[:, 1]).tolist() == [6, 7]


def test_stored_weights_of_sparse_layers_have_length_1():
    agent = XQC(hidden=(16,), critic_hidden=(16, 16), batch_size=8, bins=5)
    engine = Engine(agent, RNM("1:4"), COLUMNS, SEED, planned_updates=10)
    for part in ("actor", "critics"):
        for network in engine.learner.networks(part).values():
            # The head has no norm behind it, so its bias is a weight more.
            *hidden, head = [np.asarray(layer.to_dense()) for layer in network.layers]
            hidden.append(np.column_stack([head, network.layers[-1].bias]))
            for weights in hidden:
                np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1.0, rtol=1e-6)
    kept = engine.learner.networks("critics")["critic_0"].layers[1]
    assert np.count_nonzero(kept.to_dense()) == kept.kept == 16 * 4


def test_it_says_what_does_not_go_with_it():
    with pytest.raises(BadValue, match="bins is 1"):
        XQC(bins=1)
