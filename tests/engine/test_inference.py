"""Networks called outside XLA give what they give inside."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nets import SETS

from sparl.engine import Forward, Whole
from sparl.kernels import native
from sparl.learner import Learner, Structure
from sparl.methods import RNM, Dense
from sparl.networks import build, feature_tower, then

pytestmark = pytest.mark.usefixtures("best_instruction_set")


ACTORS = ("actor_0", "actor_1")
WIRED = {
    "densenet": lambda key, squash: build(key, (5, 33, 20, 3), squash, "densenet", "swish"),
    "d2rl": lambda key, squash: build(key, (5, 33, 20, 3), squash, "d2rl", "elu"),
    "simba": lambda key, squash: build(key, (5, 16, 16, 3), squash, "simba"),
    "tanh": lambda key, squash: build(key, (5, 33, 20, 3), squash, activation="tanh"),
    "tower": lambda key, squash: then(
        feature_tower(key, 5, (12, 9), "swish"), build(key, (26, 20, 3), squash)
    ),
}


def learner(method, make=lambda key, squash: build(key, (5, 33, 20, 3), squash)):
    """One part of two actors, so that the second does not begin at the start of the vectors."""
    keys = jax.random.split(jax.random.key(0))
    dense = {f"actor_{i}": make(key, i == 1) for i, key in enumerate(keys)}
    networks, _ = method.start({"actor": dense}, jax.random.key(1), {"actor": "actor"})
    return Learner.start(networks, {"actor": optax.identity()}, frozenset(), {"actor": "actor"})


def on_host(found):
    return {name: Forward(found.structures["actor"], name) for name in ACTORS}


def called(forward, part, x):
    return forward(part.values, part.indices, x)


@pytest.mark.parametrize("batch", [1, 3, 16, 40])
@pytest.mark.parametrize("method", [Dense(), RNM("2:4"), RNM("1:8", sparse_layers="all")])
def test_values_are_those_of_the_compiled_call(method, batch):
    found = learner(method)
    outside = on_host(found)
    x = np.random.default_rng(0).normal(size=(5, batch)).astype(np.float32)
    for _ in filter(native.force_instruction_set, SETS):
        for name, network in found.networks("actor").items():
            assert outside[name].direct is not None
            wanted = network(jnp.asarray(x))
            got = called(outside[name], found.parts["actor"], x)
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", WIRED)
def test_values_are_those_of_the_compiled_call_in_any_wiring(kind):
    found = learner(RNM("2:4", sparse_layers="all"), WIRED[kind])
    # Norms that are not those of the start, too.
    values = found.parts["actor"].values
    values = values + 0.1 * jax.random.uniform(jax.random.key(2), values.shape)
    found = found.with_parts({"actor": found.parts["actor"]._replace(values=values)})
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    for name, network in found.networks("actor").items():
        outside = on_host(found)[name]
        assert outside.direct is not None
        got = called(outside, found.parts["actor"], x)
        wanted = jax.jit(lambda network, x: network(x))(network, x)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6)


def test_networks_may_hold_more_numbers_than_float32_tells_apart():
    widths = dict(zip(ACTORS, ((2, 4100, 4100, 1), (5, 33, 20, 3)), strict=True))
    key = jax.random.key(0)
    networks = jax.eval_shape(lambda: {n: build(key, sizes, True) for n, sizes in widths.items()})
    structure = Structure.of(networks)
    direct = Forward(structure, "actor_1").direct
    assert isinstance(direct, Whole)
    size = 6 * 33 + 34 * 20 + 21 * 3
    before = structure.sizes()[0] - size
    assert before > 2**24
    assert direct.layers.values == slice(before, before + size)


def test_layers_that_the_kernels_do_not_know_are_left_to_xla():
    assert_left_to_xla(learner(RNM("2:4", straight_through=True)))


def test_without_kernels_xla_does_it(monkeypatch):
    found = learner(RNM("2:4"))
    monkeypatch.setattr(native, "why_not", "no compiler")
    assert_left_to_xla(found)


def assert_left_to_xla(found):
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    for name, network in found.networks("actor").items():
        outside = on_host(found)[name]
        assert outside.direct is None
        wanted = network(jnp.asarray(x))
        np.testing.assert_allclose(called(outside, found.parts["actor"], x), wanted, rtol=1e-6)


def test_what_does_not_fit_is_refused():
    found = learner(RNM("2:4"))
    part, outside = found.parts["actor"], on_host(found)
    x = np.zeros((5, 1), np.float32)
    with pytest.raises(ValueError, match="values and"):
        called(outside["actor_1"], part._replace(values=part.values[:-1]), x)
    with pytest.raises(ValueError, match="another shape"):
        called(outside["actor_0"], part, x[:-1])
    indices = part.indices.at[3].set(10_000)
    with pytest.raises(ValueError, match=r"layer 1: a column is outside 0\.\.32"):
        called(outside["actor_0"], part._replace(indices=indices), x)
