"""Networks called outside XLA give what they give inside."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nets import SETS

from sparl.acting import Acting
from sparl.kernels import native
from sparl.learner import Learner
from sparl.methods import RNM, Dense
from sparl.networks import build


@pytest.fixture(autouse=True)
def best_instruction_set():
    yield
    assert native.force_instruction_set("")


def learner(method):
    """One part of two actors, so that the second does not begin at the start of the vectors."""
    keys = jax.random.split(jax.random.key(0))
    dense = {f"actor_{i}": build(key, (5, 33, 20, 3), squash=i == 1) for i, key in enumerate(keys)}
    networks, _ = method.start({"actor": dense}, jax.random.key(1))
    return Learner.start(networks, {"actor": optax.identity()}, frozenset())


@pytest.mark.parametrize("batch", [1, 3, 16, 40])
@pytest.mark.parametrize("method", [Dense(), RNM(2, 4), RNM(1, 8, sparse_layers="all")])
def test_values_are_those_of_the_compiled_call(method, batch):
    found = learner(method)
    part, acting = found.parts["actor"], Acting.of(found.structures["actor"])
    assert acting is not None
    x = np.random.default_rng(0).normal(size=(5, batch)).astype(np.float32)
    for _ in filter(native.force_instruction_set, SETS):
        outside = acting.networks(np.asarray(part.values), np.asarray(part.indices))
        for name, network in found.networks("actor").items():
            np.testing.assert_allclose(
                outside[name](x), network(jnp.asarray(x)), rtol=1e-5, atol=1e-6
            )


def test_layers_that_the_kernels_do_not_know_are_left_to_xla():
    found = learner(RNM(2, 4, straight_through=True))
    assert Acting.of(found.structures["actor"]) is None


def test_without_kernels_there_is_none(monkeypatch):
    found = learner(RNM(2, 4))
    monkeypatch.setattr(native, "why_not", "no compiler")
    assert Acting.of(found.structures["actor"]) is None


def test_what_does_not_fit_is_refused():
    found = learner(RNM(2, 4))
    part, acting = found.parts["actor"], Acting.of(found.structures["actor"])
    values, indices = np.asarray(part.values), np.asarray(part.indices)
    x = np.zeros((5, 1), np.float32)
    with pytest.raises(ValueError, match="values and"):
        acting.networks(values[:-1], indices)["actor_1"](x)
    with pytest.raises(ValueError, match="another shape"):
        acting.networks(values, indices)["actor_0"](x[:-1])
    outside = indices.copy()
    outside[3] = 10_000
    with pytest.raises(ValueError, match=r"layer 1: a column is outside 0\.\.32"):
        acting.networks(values, outside)["actor_0"](x)
