"""Hidden neurons as groups: norms, importance, scaling and cutting, against the definitions."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl.layouts import Dense
from sparl.methods.common import neurons
from sparl.methods.common.importance import saliency
from sparl.networks import Network, build, by_batch

NETWORK = build(jax.random.key(0), (3, 5, 4, 2))


def group(network: Network, layer: int, j: int) -> np.ndarray:
    """The group of one neuron: row, bias, column."""
    row, after = network.layers[layer], network.layers[layer + 1]
    return np.concatenate(
        [np.array(row.weight)[j], [float(row.bias[j])], np.array(after.weight)[:, j]]
    )


def test_norms_and_sizes_are_those_of_row_bias_and_column():
    norms = neurons.by_layer(neurons.group_norms(NETWORK), NETWORK)
    assert [len(layer) for layer in norms] == list(neurons.widths(NETWORK)) == [5, 4]
    for i, layer in enumerate(norms):
        for j, norm in enumerate(layer):
            members = group(NETWORK, i, j)
            assert norm == pytest.approx(np.linalg.norm(members), rel=1e-6)
            assert neurons.group_sizes(NETWORK)[i] == len(members)
    assert neurons.weights(NETWORK) == 3 * 5 + 5 * 4 + 4 * 2
    assert neurons.weights_between(NETWORK, (2, 1)) == 3 * 2 + 2 * 1 + 1 * 2


def test_saliency_is_the_sum_over_the_batch_of_activation_times_its_gradient():
    """The expected value is computed from the activations, by the definition."""
    x = jax.random.normal(jax.random.key(1), (3, 7))

    def loss(y):
        return jnp.sum(jnp.sin(y) ** 2)

    def from_activations(activations):
        """The loss with something added to each hidden activation, and the activations."""
        h, hidden = x, []
        for layer, extra in zip(NETWORK.layers[:-1], activations, strict=True):
            h = jax.nn.relu(layer.weight @ h + layer.bias[:, None]) + extra
            hidden.append(h)
        head = NETWORK.layers[-1]
        return loss(head.weight @ h + head.bias[:, None]), hidden

    nothing = [jnp.zeros((5, 7)), jnp.zeros((4, 7))]
    gradients, hidden = jax.grad(from_activations, has_aux=True)(nothing)
    expected = [jnp.abs(jnp.sum(a * g, axis=1)) for a, g in zip(hidden, gradients, strict=True)]
    gradient = jax.grad(lambda network: loss(network(x)))(NETWORK)
    found = neurons.by_layer(saliency(NETWORK, gradient), NETWORK)
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, rtol=1e-4, atol=1e-6)
        assert np.max(other) > 1e-3


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_cut_network_is_the_same_function_as_one_with_these_neurons_off(data):
    masks = [
        np.array(data.draw(st.lists(st.booleans(), min_size=w, max_size=w).filter(any)))
        for w in neurons.widths(NETWORK)
    ]
    off = neurons.scale_neurons(NETWORK, jnp.asarray(np.concatenate(masks), jnp.float32))
    kept = [jnp.asarray(np.flatnonzero(mask)) for mask in masks]
    cut = neurons.keep_neurons(NETWORK, kept)
    assert neurons.widths(cut) == tuple(int(mask.sum()) for mask in masks)
    x = jax.random.normal(jax.random.key(2), (3, 6))
    assert np.allclose(cut(x), off(x), atol=1e-6)
    # The weights that are left have not changed.
    first = np.array(NETWORK.layers[0].weight)[masks[0]]
    assert np.array_equal(cut.layers[0].weight, first)
    middle = np.array(NETWORK.layers[1].weight)[masks[1]][:, masks[0]]
    assert np.array_equal(cut.layers[1].weight, middle)
    assert np.array_equal(cut.layers[2].bias, NETWORK.layers[2].bias)


def test_a_neuron_that_is_off_gets_no_gradient():
    off = neurons.scale_neurons(NETWORK, jnp.array([1.0, 0, 1, 1, 1, 0, 1, 1, 1]))
    x = jax.random.normal(jax.random.key(3), (3, 9))
    gradient = jax.grad(lambda network: jnp.sum(network(x) ** 3))(off)
    for layer, j in ((0, 1), (1, 0)):
        assert not group(gradient, layer, j).any()
        assert group(gradient, layer, 2).any()


def normed(place: str, kind: str = "mlp") -> Network:
    """With batch norms whose numbers are not those of a start."""
    network = build(jax.random.key(0), (3, 5, 4, 2), False, kind, "swish", "batch", place)
    leaves, structure = jax.tree.flatten(network)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [a + jax.random.uniform(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, moved)


NORMED = [("before", "mlp"), ("behind", "mlp"), ("before", "densenet"), ("behind", "d2rl")]


@pytest.mark.parametrize("place, kind", NORMED)
def test_a_neuron_is_cut_with_its_norm_and_its_constant_enters_the_next_bias(place, kind):
    """Neurons whose gains are 0 give their constant alone: without them nothing changes."""
    network = normed(place, kind)
    kept = jnp.array([1.0, 0, 1, 1, 0, 0, 1, 1, 1])
    gains = neurons.scale_neurons(network, kept)

    def without_gain(norm, scaled):
        return norm and eqx.tree_at(lambda n: n.gain, norm, scaled.gain)

    flat = replace(
        network,
        norms=tuple(map(without_gain, network.norms, gains.norms)),
        input_norms=tuple(map(without_gain, network.input_norms, gains.input_norms)),
    )
    off = neurons.scale_neurons(neurons.fold_constants(flat, 1 - kept), kept)
    masks = neurons.by_layer(kept, network)
    cut = neurons.keep_neurons(off, [jnp.flatnonzero(mask) for mask in masks])
    assert neurons.widths(cut) == (3, 3)
    x = jax.random.normal(jax.random.key(2), (3, 9))
    both_modes = jax.jit(lambda network: (network(x), by_batch(network, x)[0]))
    wanted = both_modes(flat)
    for smaller in (off, cut):
        for found, expected in zip(both_modes(smaller), wanted, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(both_modes(network)[0] - wanted[0]).max() > 0.01
    # What is off learns nothing, its norm neither.
    gradient = jax.jit(jax.grad(lambda n: jnp.sum(by_batch(n, x)[0] ** 3)))(off)
    group = neurons.by_layer(neurons.group_norms(gradient), network)
    for norms, mask in zip(group, masks, strict=True):
        np.testing.assert_allclose(norms[mask == 0], 0, atol=1e-6)
        assert (norms[mask == 1] > 1e-3).all()


@pytest.mark.parametrize("place, kind", NORMED)
def test_a_group_has_the_gains_and_shifts_of_its_norms(place, kind):
    network, factors = normed(place, kind), jnp.arange(1.0, 10.0)

    def penalty(network):
        return jnp.sum(factors / 2 * neurons.group_norms(network) ** 2)

    added = neurons.add_scaled(jax.tree.map(jnp.zeros_like, network), network, factors)
    expected = jax.grad(penalty)(network)
    for one, other in zip(jax.tree.leaves(added), jax.tree.leaves(expected), strict=True):
        assert np.allclose(one, other, atol=1e-5)
    ones = jax.tree.map(jnp.ones_like, network)
    squares = neurons.by_layer(neurons.group_norms(ones) ** 2, network)
    assert neurons.group_sizes(network) == [round(float(s[0])) for s in squares]


def test_scale_neurons_multiplies_every_group_and_add_scaled_adds_it():
    factors = jnp.arange(1.0, 10.0)
    scaled = neurons.scale_neurons(NETWORK, factors)
    first, second, head = (np.array(layer.weight) for layer in NETWORK.layers)
    assert np.allclose(scaled.layers[0].weight, first * np.arange(1, 6)[:, None])
    both = second * np.arange(6, 10)[:, None] * np.arange(1, 6)[None]
    assert np.allclose(scaled.layers[1].weight, both)
    assert np.allclose(scaled.layers[2].weight, head * np.arange(6, 10)[None])
    assert np.allclose(scaled.layers[1].bias, NETWORK.layers[1].bias * np.arange(6, 10))
    assert np.array_equal(scaled.layers[2].bias, NETWORK.layers[2].bias)

    # The gradient of sum_j f_j/2 ||theta_j||^2 is f_j theta_j in every group.
    def penalty(network):
        return jnp.sum(factors / 2 * neurons.group_norms(network) ** 2)

    zero = jax.tree.map(jnp.zeros_like, NETWORK)
    expected = jax.grad(penalty)(NETWORK)
    added = neurons.add_scaled(zero, NETWORK, factors)
    for one, other in zip(jax.tree.leaves(added), jax.tree.leaves(expected), strict=True):
        assert np.allclose(one, other, atol=1e-6)
    assert all(isinstance(layer, Dense) for layer in added.layers)
