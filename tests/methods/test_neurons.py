"""Hidden neurons as groups: norms, importance, scaling and cutting, against the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl.layouts import Dense
from sparl.methods.common import neurons
from sparl.networks import Network, build

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
    saliency = neurons.by_layer(neurons.saliency(NETWORK, gradient), NETWORK)
    for one, other in zip(saliency, expected, strict=True):
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
