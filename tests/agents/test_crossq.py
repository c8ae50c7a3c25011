"""CrossQ against a second one in numpy, and what it refuses."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from crossq_reference import Passed, Reference
from support import LATE, adam_state, distance, fields, rows, trajectory

from sparl.agents import CrossQ
from sparl.engine import Engine
from sparl.errors import BadValue
from sparl.methods import Dense
from sparl.replay import Columns

COLUMNS = Columns(5, 3)
CONFIG = CrossQ(
    hidden=(16, 12), learning_rate=1e-3, batch_size=32, activation="tanh", policy_average=0
)
UPDATES, SEED = 60, 7


def batches() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rows(rng, CONFIG.batch_size, COLUMNS) for _ in range(UPDATES)]


def state(engine: Engine) -> dict[str, list[list[np.ndarray]]]:
    """All networks with their norms, and the temperature as one more of them."""
    (temperature,) = np.exp(np.asarray(engine.learner.parts["temperature"].values))
    networks = {
        name: [
            [np.array(a) for a in (la.weight, la.bias, *vars(norm).values())]
            for la, norm in zip(network.layers, network.input_norms, strict=True)
        ]
        for name, network in engine.learner.all_networks().items()
    }
    return networks | {"temperature": [[np.array(temperature)]]}


@pytest.fixture(scope="module")
def found() -> list[dict]:
    return trajectory(CONFIG, COLUMNS, batches(), SEED, state)


def followed(reference_type: type[Reference], start: dict) -> list[dict]:
    """The reference's state after each update, from the same weights, batches and noise."""
    exact = {
        name: [[a.astype(np.float64) for a in layer] for layer in layers]
        for name, layers in start.items()
        if name != "temperature"
    }
    reference = reference_type(exact, CONFIG.learning_rate)
    key = jax.random.split(jax.random.key(SEED), 3)[2]
    states = []
    for i, batch in enumerate(batches()):
        shape = (2, COLUMNS.action_size, CONFIG.batch_size)
        normal = np.asarray(jax.random.normal(jax.random.fold_in(key, i), shape), np.float64)
        reference.update(fields(batch, COLUMNS), normal[0].T, normal[1].T)
        networks = {name: [list(la) for la in net] for name, net in reference.online.items()}
        states.append(networks | {"temperature": [[np.array(reference.temperature)]]})
    return states


def test_follows_an_independent_reference(found):
    expected = followed(Reference, found[0])
    distances = [distance(a, b) for a, b in zip(found[1:], expected, strict=True)]
    assert max(distances) < LATE
    # Shifts start at 0, and Adam's first steps in float32 are 6e-6 off.
    assert max(distances[:6]) < 3e-5
    for name in found[0]:
        assert distance({name: found[0][name]}, {name: expected[-1][name]}) > 30 * LATE


class Apart(Reference):
    """(s, a) and (s', a') are normalised each by its own statistics."""

    def critics(self, inputs, next_inputs):
        passes = [
            [Passed(self.online[f"critic_{i}"], x, self.bounds) for x in (inputs, next_inputs)]
            for i in range(2)
        ]

        def gradient(first, second):
            return lambda by_q: (first.backward(by_q[:, None])[0], [first, second])

        q, next_q = ([pair[j].output[:, 0] for pair in passes] for j in range(2))
        return q, next_q, [gradient(*pair) for pair in passes]


class ThroughTheTarget(Reference):
    """The gradient goes on into the values of s', too."""

    def critics(self, inputs, next_inputs):
        q, next_q, gradients = super().critics(inputs, next_inputs)

        def through(i):
            passed = gradients[i](np.zeros(len(inputs)))[1][0]

            def gradient(by_q):
                both = np.concatenate([by_q, -0.9 * by_q * (next_q[i] == np.min(next_q, axis=0))])
                return passed.backward(both[:, None])[0], [passed]

            return gradient

        return q, next_q, [through(0), through(1)]


class PlainNorms(Reference):
    """Batch norms that are not renormalised: r is 1 and d is 0."""

    bounds = (1.0, 0.0)


class NoBounds(Reference):
    bounds = (1e9, 1e9)


class SlowAdam(Reference):
    beta1 = 0.9


class Eager(Reference):
    delay = 1


class CriticsByTheBatch(Reference):
    """The policy's loss goes through critics in training mode."""

    def judge(self, layers, inputs):
        return Passed(layers, inputs, self.bounds)


class Forgetful(Reference):
    """Running statistics stay as they were."""

    def step(self, name, gradients, passes):
        super().step(name, gradients, [])


WRONG = [
    *(Apart, ThroughTheTarget, PlainNorms, NoBounds, SlowAdam, Eager, CriticsByTheBatch),
    Forgetful,
]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_tolerance_tells_a_wrong_rule(found, wrong):
    expected = followed(wrong, found[0])
    assert distance(found[-1], expected[-1]) > 3 * LATE


def test_renormalisation_begins_after_its_warm_up():
    """Until then norms are plain ones; from then on they are not."""
    plain, late = (
        trajectory(
            replace(CONFIG, renorm_from=n, policy_delay=9), COLUMNS, batches()[:4], SEED, state
        )
        for n in (None, 3)
    )
    assert distance(plain[3], late[3]) == 0
    assert distance(plain[4], late[4]) > 3 * LATE


def test_several_updates_in_one_call_are_the_same_updates(found):
    """Running statistics are in the state that is scanned."""
    engine = Engine(CONFIG, Dense(), COLUMNS, SEED)
    engine.update(np.stack(batches()[:6]))
    assert distance(state(engine), found[6]) < 1e-5


def test_a_small_temperature_falls_as_fast_as_a_large_one():
    """Its loss has its logarithm, as the code's. Of SAC's, eq. 18, the gradient is a tenth here."""
    gradients = []
    for temperature in (1.0, 0.1):
        config = replace(CONFIG, initial_temperature=temperature, policy_delay=1)
        engine = Engine(config, Dense(), COLUMNS, SEED)
        engine.update(batches()[0])
        gradients.append(float(adam_state(engine.learner.parts["temperature"].optimizer).mu[0]))
    assert gradients[0] == gradients[1] > 0


def test_there_are_no_targets(found):
    assert not [name for name in found[0] if name.startswith("target_")]


def test_options_out_of_range():
    with pytest.raises(BadValue, match="norm is none: without target networks crossq needs norms"):
        CrossQ(norm="none")
    with pytest.raises(BadValue, match="renorm_from is -1"):
        CrossQ(renorm_from=-1)
    with pytest.raises(BadValue, match="policy_delay is 0"):
        CrossQ(policy_delay=0)
    with pytest.raises(BadValue, match="batch_size is 1: a batch norm needs 2 samples"):
        CrossQ(batch_size=1)


def test_defaults_are_those_of_the_paper():
    """1902.05605, table of hyperparameters, and its code; but for the learning rate, 1e-3 there,
    and the average, which it does not have."""
    config = CrossQ()
    assert (config.learning_rate, config.gamma, config.beta1) == (3e-3, 0.99, 0.5)
    assert (config.hidden, config.batch_size, config.policy_delay) == ((256, 256), 256, 3)
    assert (config.learning_starts, config.norm, config.norm_place) == (5_000, "batch", "behind")
    assert config.policy_average == 500
