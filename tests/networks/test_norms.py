"""Batch and layer norms of any network, in training mode and in evaluation mode."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policies import observations
from support import same_bits

from sparl import kernels
from sparl.agents import SAC
from sparl.errors import BadValue
from sparl.kernels import BATCH_EPSILON
from sparl.learner import Structure
from sparl.methods import RNM
from sparl.networks import BATCH_MEMORY, LAYER_EPSILON, BatchNorm, build, by_batch

SIZES = (5, 8, 6, 3)
METHOD = RNM("2:4", sparse_layers="all")
# Compiled as a whole: operation by operation they take several times as long.
evaluated = jax.jit(lambda network, x: network(x))
trained = jax.jit(by_batch, static_argnames="renormalise")
sparsified = jax.jit(
    lambda network, key: METHOD.start({"a": {"a": network}}, key, {"a": "critic"})[0]["a"]["a"]
)
X = observations(5, 40).T * 2 + 1


def made(norm, place, kind="mlp", of_input=True, sparse=False):
    """A network whose norms are not those of a start."""
    network = build(jax.random.key(0), SIZES, False, kind, "tanh", norm, place, of_input)
    if sparse:
        network = sparsified(network, jax.random.key(1))
    rng = np.random.default_rng(1)

    def shaken(norms):
        def drawn(array):
            return jnp.asarray(rng.uniform(0.5, 1.5, array.shape), jnp.float32)

        return tuple(jax.tree.map(drawn, norm) for norm in norms)

    return replace(network, norms=shaken(network.norms), input_norms=shaken(network.input_norms))


def by_hand(network, x, training, renormalise=False):
    """Outputs and moved statistics in float64, from the definitions."""
    moved = []

    def normalised(norm, y):
        numbers = [np.asarray(a, np.float64)[:, None] for a in vars(norm).values()]
        if not isinstance(norm, BatchNorm):
            deviation = np.sqrt(y.var(0) + LAYER_EPSILON)
            return numbers[0] * (y - y.mean(0)) / deviation + numbers[1]
        gain, shift, running_mean, running_variance = numbers
        mean, variance, r, d = running_mean, running_variance, 1.0, 0.0
        running = np.sqrt(running_variance + BATCH_EPSILON)
        if training:
            mean, variance = y.mean(1, keepdims=True), y.var(1, keepdims=True)
            moved.append(BATCH_MEMORY * running_mean + (1 - BATCH_MEMORY) * mean)
            moved.append(BATCH_MEMORY * running_variance + (1 - BATCH_MEMORY) * variance)
        deviation = np.sqrt(variance + BATCH_EPSILON)
        if renormalise:
            r = np.clip(deviation / running, 1 / 3, 3)
            d = np.clip((mean - running_mean) / running, -5, 5)
        return gain * ((y - mean) / deviation * r + d) + shift

    values = [x.astype(np.float64)]
    stages = network.wiring.stages
    for i, (layer, stage) in enumerate(zip(network.layers, stages, strict=True)):
        y = np.concatenate([values[v] for v in stage.reads])
        if network.input_norms[i] is not None:
            y = normalised(network.input_norms[i], y)
        y = np.asarray(layer.to_dense(), np.float64) @ y + np.asarray(layer.bias)[:, None]
        if network.norms[i] is not None:
            y = normalised(network.norms[i], y)
        values.append(y if stage.activation is None else np.tanh(y))
    return values[-1], moved


def statistics(network):
    """In the order in which a pass meets them."""
    pairs = zip(network.input_norms, network.norms, strict=True)
    return [a for pair in pairs for norm in pair if norm for a in (norm.mean, norm.variance)]


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize(
    "place, kind, of_input, sparse",
    [
        ("before", "mlp", True, False),
        ("behind", "mlp", True, True),
        ("before", "densenet", False, True),
        ("behind", "d2rl", False, False),
    ],
)
def test_both_modes_are_those_of_the_definition(place, kind, of_input, sparse, renormalise):
    network = made("batch", place, kind, of_input, sparse)
    x = jnp.asarray(X)
    wanted, _ = by_hand(network, X, training=False)
    np.testing.assert_allclose(evaluated(network, x), wanted, rtol=2e-4, atol=2e-5)
    wanted, moved = by_hand(network, X, True, renormalise)
    y, after = trained(network, x, renormalise)
    np.testing.assert_allclose(y, wanted, rtol=2e-4, atol=5e-5)
    for found, expected in zip(statistics(after), moved, strict=True):
        np.testing.assert_allclose(found, expected[:, 0], rtol=1e-5, atol=1e-6)
    structure = Structure.of({"a": network})
    learned = structure.trained()
    changed = np.asarray(structure.flatten({"a": after}) != structure.flatten({"a": network}))
    assert learned is not None and not changed[learned].any() and changed[~learned].all()


@pytest.mark.parametrize("place", ["before", "behind"])
def test_layer_norms_are_the_same_in_both_modes(place):
    network, x = made("layer", place), jnp.asarray(X)
    wanted, _ = by_hand(network, X, training=False)
    np.testing.assert_allclose(network(x), wanted, rtol=2e-4, atol=2e-5)
    y, after = by_batch(network, x)
    assert same_bits(y, network(x)) and after is network
    assert Structure.of({"a": network}).trained() is None


def places(network):
    names = zip(network.input_norms, network.norms, strict=True)
    return [(before is not None, behind is not None) for before, behind in names]


def test_where_norms_are():
    """(of its inputs, of its sums) for each layer."""
    assert places(made("batch", "before")) == [(1, 1), (0, 1), (0, 0)]
    assert places(made("batch", "behind")) == [(1, 0), (1, 0), (1, 0)]
    assert places(made("batch", "behind", of_input=False)) == [(0, 0), (1, 0), (1, 0)]
    # All that read the network's input normalise it.
    assert places(made("batch", "before", "d2rl")) == [(1, 1), (1, 1), (0, 0)]


def test_within_its_bounds_renormalisation_is_what_evaluation_mode_gives():
    """After many batches of one distribution; a plain norm differs by each batch's statistics."""
    network = made("batch", "behind")
    for seed in range(600):
        batch = np.random.default_rng(seed).normal(1, 2, (5, 64)).astype(np.float32)
        network = trained(network, batch)[1]
    x = jnp.asarray(batch)
    wanted = evaluated(network, x)
    np.testing.assert_allclose(trained(network, x, True)[0], wanted, rtol=1e-3, atol=1e-4)
    assert np.abs(trained(network, x)[0] - wanted).max() > 0.01


def test_nothing_is_learned_of_statistics_and_of_biases_that_are_taken_away():
    network, x = made("batch", "before"), jnp.asarray(X)
    for mode in (lambda n: by_batch(n, x)[0], lambda n: by_batch(n, x, True)[0]):
        gradient = jax.jit(jax.grad(lambda n, mode=mode: jnp.sum(mode(n) ** 2)))(network)
        assert not any(np.asarray(a).any() for a in statistics(gradient))
        assert all((np.asarray(norm.gain) != 0).all() for norm in gradient.norms[:2])
    assert not gradient.layers[0].bias.any() and gradient.layers[2].bias.all()
    if kernels.usable():
        with pytest.raises(NotImplementedError, match="Use `by_batch` to train it"):
            jax.grad(lambda n: jnp.sum(n(x)))(network)


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"norm": "group"}, "norm is 'group'"),
        ({"norm": "batch", "network": "simba"}, "norm is batch: a simba has layer norms"),
        ({"norm": "batch", "batch_size": 1}, "batch_size is 1: a batch norm needs 2 samples"),
        ({"norm_place": "beside"}, "norm_place is 'beside'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong, told):
    with pytest.raises(BadValue, match=told):
        SAC(**wrong)
