"""The gradients of all weights that a method may ask for, against the agents' references."""

from __future__ import annotations

from typing import Any

import dqn_reference
import jax
import numpy as np
import pytest
import sac_reference
import td3_reference
from sparse_agents import SPARSE, engine_of, online
from support import (
    active,
    adam_state,
    at,
    dense_networks,
    exact_start,
    fields,
    rows,
    with_random_moments,
)

from sparl.engine import Engine
from sparl.engine.restructure import densified
from sparl.methods import RNM, Static


class Asking(Static):
    """Static, but asks for the gradients, and remembers them as its state."""

    def restructure(self, learner, state, signals):
        return learner, signals.gradients(), {}


def test_dense_copies_of_straight_through_layers_have_no_dormant_weights():
    method = RNM("1:4", straight_through=True, sparse_layers="all")
    engine = engine_of("dqn", method)
    engine.learner = with_random_moments(engine.learner, np.random.default_rng(0))
    dense = densified(engine.learner).parts["q"]
    zero = np.asarray(dense.values) == 0
    assert zero.sum() > dense.values.size / 2
    for aligned in (dense.target, adam_state(dense.optimizer).mu, adam_state(dense.optimizer).nu):
        assert not np.asarray(aligned)[zero].any()


class Catch:
    """In place of a reference's Adam: catches the gradients, and nothing descends."""

    def __init__(self) -> None:
        self.gradients: Any = None

    def step(self, layers, gradients) -> None:
        self.gradients = gradients


def reference_gradients(agent: str, engine: Engine, batch: np.ndarray) -> dict[str, Any]:
    """In float64 and by hand, of dense networks with zeros where nothing is kept."""
    config: Any = engine.agent
    networks = dense_networks(engine)
    start = exact_start(networks)
    key = jax.random.wrap_key_data(engine.journal.key)
    key = jax.random.fold_in(jax.random.fold_in(key, engine.updates), 2**32 - 1)
    noise = jax.random.normal(key, (2, 3, 8) if agent == "sac" else (3, 8))
    noise = np.asarray(noise, np.float64).swapaxes(-1, -2)
    if agent == "td3":
        reference = td3_reference.Reference(
            start, 1.0, 0.0, config.policy_noise, config.noise_clip, 1
        )
    elif agent == "sac":
        (log_temperature,) = np.asarray(engine.learner.parts["temperature"].values, np.float64)
        reference = sac_reference.Reference(start, 1.0, 0.0, np.exp(log_temperature))
    else:
        reference = dqn_reference.Reference(start, 1.0, 0.0, 1, config.double)
    for name in reference.target:
        exact = [[a.astype(np.float64) for a in layer] for layer in networks[f"target_{name}"]]
        reference.target[name] = exact
    caught = {name: Catch() for name in start}
    reference.adam = caught["q"] if agent == "dqn" else caught | {"temperature": Catch()}
    drawn = () if agent == "dqn" else noise if agent == "sac" else (noise,)
    reference.update(fields(batch, engine.columns), *drawn)
    return {name: catch.gradients for name, catch in caught.items()}


@pytest.mark.parametrize("agent", ["td3", "sac", "dqn"])
def test_a_method_is_given_the_gradients_of_all_weights_dormant_ones_too(agent):
    engine, rng = engine_of(agent, Asking(**SPARSE)), np.random.default_rng(0)
    batch = rows(rng, 8, engine.columns)
    engine.update(batch)
    engine.learner = with_random_moments(engine.learner, rng)  # targets far from the online ones
    expected = reference_gradients(agent, engine, batch)
    engine.restructure("ask", at(0.0))
    for name, (part, network) in online(engine.learner).items():
        found = engine.method_state[part][name].layers
        for layer, gradient, (weight, bias) in zip(
            network.layers, found, expected[name], strict=True
        ):
            scale = np.abs(weight).max()
            np.testing.assert_allclose(gradient.weight, weight, rtol=1e-3, atol=1e-4 * scale)
            np.testing.assert_allclose(gradient.bias, bias, rtol=1e-3, atol=1e-4 * scale)
            dormant = ~active(layer)
            assert not dormant.any() or np.abs(weight[dormant]).max() > 0.01 * scale
