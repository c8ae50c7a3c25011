"""Hidden neurons as groups of weights: what structured pruning weighs, shrinks and cuts out.

A neuron is a row of its layer's weights, its bias, and the column of the next layer's weights that
its output meets. Networks here are of `Dense` layers; a number per neuron is a vector over all
hidden neurons of a network, layer after layer. Whatever is aligned with the weights (a gradient,
an Adam moment, a target) may stand in the place of a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sparl.layouts import Dense
from sparl.networks import MLP

TINY = 1e-30
"""For divisions by what may be zero."""

PerNeuron = Float[Array | np.ndarray, " neurons"]


def widths(network: MLP) -> tuple[int, ...]:
    """Neurons of each hidden layer."""
    return tuple(layer.out_features for layer in network.layers[:-1])


def by_layer(values: PerNeuron, network: MLP) -> list[Any]:
    """A number per neuron, cut into the hidden layers."""
    ends = list(itertools.accumulate(widths(network)))
    return [values[first:end] for first, end in zip([0, *ends], ends, strict=False)]


def weights(network: MLP) -> int:
    """Weights of all layers, biases not counted."""
    return weights_between(network, widths(network))


def weights_between(network: MLP, hidden: Sequence[int]) -> int:
    """Weights of a network with hidden layers of these widths between the same ends."""
    ends = [network.layers[0].in_features, *hidden, network.layers[-1].out_features]
    return sum(inputs * outputs for inputs, outputs in itertools.pairwise(ends))


def norms(network: MLP) -> PerNeuron:
    """The Euclidean norm of each group."""
    squares = [
        jnp.sum(jnp.square(layer.weight), axis=1)
        + jnp.square(layer.bias)
        + jnp.sum(jnp.square(after.weight), axis=0)
        for layer, after in zip(network.layers, network.layers[1:], strict=False)
    ]
    return jnp.sqrt(_joined(squares))


def sizes(network: MLP) -> list[int]:
    """Numbers in a group, for each hidden layer."""
    return [
        layer.in_features + 1 + after.out_features
        for layer, after in zip(network.layers, network.layers[1:], strict=False)
    ]


def saliency(network: MLP, gradient: MLP) -> PerNeuron:
    """|sum over the batch of a_j dL/da_j|, the first-order change of the loss without neuron j.

    For ReLU it equals |sum_i w_ji g_ji + b_j g_bj| over the incoming row (Taylor pruning,
    1611.06440), so that weights and gradients are enough.
    """
    products = [
        jnp.sum(layer.weight * g.weight, axis=1) + layer.bias * g.bias
        for layer, g in zip(network.layers[:-1], gradient.layers[:-1], strict=True)
    ]
    return jnp.abs(_joined(products))


def scaled(network: MLP, factors: PerNeuron) -> MLP:
    """Every group times its factor; a weight between two neurons takes both."""
    per_layer = by_layer(factors, network)
    layers = []
    for i, layer in enumerate(network.layers):
        weight, bias = layer.weight, layer.bias
        if i < len(per_layer):
            weight, bias = weight * per_layer[i][:, None], bias * per_layer[i]
        if i > 0:
            weight = weight * per_layer[i - 1][None, :]
        layers.append(Dense(weight, bias))
    return MLP(tuple(layers), network.squash)


def pulled(gradient: MLP, network: MLP, factors: PerNeuron) -> MLP:
    """`gradient` plus, group by group, `network` times its factor."""
    per_layer = by_layer(factors, network)
    layers = []
    for i, (layer, g) in enumerate(zip(network.layers, gradient.layers, strict=True)):
        weight, bias = g.weight, g.bias
        if i < len(per_layer):
            weight = weight + per_layer[i][:, None] * layer.weight
            bias = bias + per_layer[i] * layer.bias
        if i > 0:
            weight = weight + per_layer[i - 1][None, :] * layer.weight
        layers.append(Dense(weight, bias))
    return MLP(tuple(layers), network.squash)


def narrowed(network: MLP, kept: Sequence[Int[Array, " _"]]) -> MLP:
    """The network of the neurons `kept`, indices for each hidden layer: a smaller one."""
    layers = []
    for i, layer in enumerate(network.layers):
        weight, bias = layer.weight, layer.bias
        if i < len(kept):
            weight, bias = weight[kept[i]], bias[kept[i]]
        if i > 0:
            weight = weight[:, kept[i - 1]]
        layers.append(Dense(weight, bias))
    return MLP(tuple(layers), network.squash)


def shares(importance: PerNeuron, network: MLP) -> Float[Array, " neurons"]:
    """Importance as a share of the layer's largest, I_j / max I; 0 where there is none."""
    layers = by_layer(importance, network)
    return jnp.concatenate([layer / jnp.maximum(jnp.max(layer), TINY) for layer in layers])


def weeded(
    importance: Float[Array, " width"],
    alive: Float[Array, " width"],
    lost: Float[Array, ""],
    fewest: Float[Array, ""],
    limit: Float[Array, ""],
    may: Bool[Array, ""],
) -> tuple[Float[Array, " width"], Float[Array, ""]]:
    """Which of a layer's neurons stay on (1, else 0), and the share of its importance lost so far.

    Those of least importance go as long as the share lost is within `limit` and at least `fewest`
    stay, if any `may`. A layer without any importance keeps all: nothing was learned of it yet, or
    it is dead.
    """
    total = jnp.sum(importance * alive)
    order = jnp.argsort(jnp.where(alive > 0, importance, jnp.inf))
    shares = (importance * alive)[order] / jnp.where(total > 0, total, 1.0)
    lost_then = lost + (1.0 - lost) * jnp.cumsum(shares)
    spare = jnp.floor(jnp.sum(alive) - fewest + 1e-3)  # the path's end is exact but for rounding
    goes = (lost_then <= limit) & (jnp.arange(len(order)) < spare) & (total > 0) & may
    count = jnp.sum(goes)
    return alive.at[order].multiply(~goes), jnp.where(count > 0, lost_then[count - 1], lost)


def _joined(per_layer: Sequence[jax.Array]) -> jax.Array:
    return jnp.concatenate(per_layer) if per_layer else jnp.zeros(0)
