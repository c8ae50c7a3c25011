"""Hidden neurons as groups of weights, which structured pruning weighs, shrinks and cuts out.

The group of a neuron is its row of weights, its bias, and its column of weights in every layer that
reads its output. Networks here have `Dense` layers alone. A number per neuron is a vector over all
hidden neurons of a network, layer after layer. The functions that take a network also take
whatever is aligned with its weights: a gradient, an Adam moment, a target.

Some layers must keep all their outputs: those that are added to a residual stream, those that a
layer norm reads, and those behind a batch norm, which turns even zeros into something else.
`hidden` gives the other layers, whose neurons can be removed one by one.
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
from sparl.networks import Network

TINY = 1e-30
"""The smallest divisor, where a divisor could be zero."""

PerNeuron = Float[Array | np.ndarray, " neurons"]


def hidden(network: Network) -> tuple[int, ...]:
    """The positions of the layers whose neurons can be removed."""
    wiring = network.wiring
    fixed = {0, *wiring.gives}
    for value, stage in enumerate(wiring.stages, start=1):
        if stage.adds is not None:
            fixed |= {stage.adds, value}
        if stage.norm == "layer":
            fixed |= set(stage.reads)
        if stage.norm == "batch":
            fixed |= {value}
    return tuple(i for i in range(len(network.layers)) if i + 1 not in fixed)


def widths(network: Network) -> tuple[int, ...]:
    """The number of neurons in each hidden layer."""
    return tuple(network.layers[i].out_features for i in hidden(network))


def by_layer(values: PerNeuron, network: Network) -> list[Any]:
    """Splits a vector over all neurons into one vector for each hidden layer."""
    ends = list(itertools.accumulate(widths(network)))
    return [values[first:end] for first, end in zip([0, *ends], ends, strict=False)]


def concatenate(per_layer: Sequence[jax.Array]) -> jax.Array:
    """One vector of several; an empty one if there are none."""
    return jnp.concatenate(per_layer) if per_layer else jnp.zeros(0)


def weights(network: Network) -> int:
    """The number of weights of all layers, without biases."""
    return weights_between(network, widths(network))


def weights_between(network: Network, left: Sequence[int]) -> int:
    """The number of weights that a network would have with other hidden layers.

    Args:
        left: The number of neurons in each hidden layer.
    """
    value_widths = list(network.widths)
    for i, width in zip(hidden(network), left, strict=True):
        value_widths[i + 1] = width
    return sum(
        value_widths[i + 1] * sum(value_widths[value] for value in stage.reads)
        for i, stage in enumerate(network.wiring.stages)
    )


def group_norms(network: Network) -> PerNeuron:
    """The Euclidean norm of each neuron's group."""
    squares = []
    for i in hidden(network):
        layer = network.layers[i]
        group = jnp.sum(jnp.square(layer.weight), axis=1) + jnp.square(layer.bias)
        for weight in _outgoing_weights(network, network, i + 1):
            group = group + jnp.sum(jnp.square(weight), axis=0)
        squares.append(group)
    return jnp.sqrt(concatenate(squares))


def group_sizes(network: Network) -> list[int]:
    """The size of a neuron's group (weights and the bias), for each hidden layer."""
    outgoing = [
        sum(
            network.layers[j].out_features
            for j, stage in enumerate(network.wiring.stages)
            if i + 1 in stage.reads
        )
        for i in hidden(network)
    ]
    incoming = (network.layers[i].in_features for i in hidden(network))
    return [row + 1 + column for row, column in zip(incoming, outgoing, strict=True)]


def saliency(network: Network, gradient: Network) -> PerNeuron:
    """The first-order change of the loss without each neuron j (Taylor pruning, 1611.06440).

    That is |sum over the batch of a_j dL/da_j|. It equals |sum_k w_kj g_kj| over the neuron's
    outgoing weights, whatever the activation, so weights and gradients are enough.

    Args:
        gradient: The loss's gradient by the network's weights.
    """
    products = []
    for i in hidden(network):
        pairs = zip(
            _outgoing_weights(network, network, i + 1),
            _outgoing_weights(network, gradient, i + 1),
            strict=True,
        )
        products.append(sum(jnp.sum(weight * g, axis=0) for weight, g in pairs))
    return jnp.abs(concatenate(products))


def relative_importance(importance: PerNeuron, network: Network) -> Float[Array, " neurons"]:
    """Importance divided by the largest of the layer, I_j / max I; 0 where all are 0."""
    layers = by_layer(importance, network)
    return concatenate([layer / jnp.maximum(jnp.max(layer), TINY) for layer in layers])


def scale_neurons(network: Network, factors: PerNeuron) -> Network:
    """Multiplies every group by its factor; a weight between two neurons takes both factors."""
    row_factors, column_factors = _row_and_column_factors(network, factors, otherwise=1.0)
    layers = []
    for layer, rows, columns in zip(network.layers, row_factors, column_factors, strict=True):
        weight, bias = layer.weight, layer.bias
        if rows is not None:
            weight, bias = weight * rows[:, None], bias * rows
        if columns is not None:
            weight = weight * columns[None, :]
        layers.append(Dense(weight, bias))
    return network.with_layers(layers)


def add_scaled(gradient: Network, network: Network, factors: PerNeuron) -> Network:
    """`gradient` plus each group of `network` times its factor."""
    row_factors, column_factors = _row_and_column_factors(network, factors, otherwise=0.0)
    layers = []
    for layer, g, rows, columns in zip(
        network.layers, gradient.layers, row_factors, column_factors, strict=True
    ):
        weight, bias = g.weight, g.bias
        if rows is not None:
            weight = weight + rows[:, None] * layer.weight
            bias = bias + rows * layer.bias
        if columns is not None:
            weight = weight + columns[None, :] * layer.weight
        layers.append(Dense(weight, bias))
    return gradient.with_layers(layers)


def keep_neurons(network: Network, kept: Sequence[Int[Array, " _"]]) -> Network:
    """A smaller network that has the neurons `kept` alone.

    Args:
        kept: Indices of neurons, one vector for each hidden layer.
    """
    kept_of_value = dict(zip((i + 1 for i in hidden(network)), kept, strict=True))
    layers = []
    for i, layer in enumerate(network.layers):
        weight, bias = layer.weight, layer.bias
        if i + 1 in kept_of_value:
            weight, bias = weight[kept_of_value[i + 1]], bias[kept_of_value[i + 1]]
        reads = network.wiring.stages[i].reads
        if kept_of_value.keys() & set(reads):
            starts = itertools.accumulate((network.widths[value] for value in reads), initial=0)
            columns = [
                start + kept_of_value.get(value, jnp.arange(network.widths[value]))
                for start, value in zip(starts, reads, strict=False)
            ]
            weight = weight[:, concatenate(columns)]
        layers.append(Dense(weight, bias))
    return network.with_layers(layers)


def drop_least_important(
    importance: Float[Array, " width"],
    alive: Float[Array, " width"],
    lost: Float[Array, ""],
    fewest: Float[Array, ""],
    limit: Float[Array, ""],
    allowed: Bool[Array, ""],
) -> tuple[Float[Array, " width"], Float[Array, ""]]:
    """Drops the least important neurons of a layer until a limit is reached.

    A layer whose importance is 0 everywhere keeps all its neurons: either nothing was learned of
    it yet, or it is dead.

    Args:
        alive: 1 for each neuron that is still there, else 0.
        lost: Share of the layer's importance that was dropped so far.
        fewest: Neurons that must stay.
        limit: Most of the importance, as a share, that may be dropped in all.
        allowed: Whether any neuron may be dropped now.

    Returns:
        The new `alive` and the new `lost`.
    """
    total = jnp.sum(importance * alive)
    order = jnp.argsort(jnp.where(alive > 0, importance, jnp.inf))
    shares = (importance * alive)[order] / jnp.where(total > 0, total, 1.0)
    lost_after = lost + (1.0 - lost) * jnp.cumsum(shares)
    # `fewest` is exact at the end of its path but for rounding.
    droppable = jnp.floor(jnp.sum(alive) - fewest + 1e-3)
    dropped = (lost_after <= limit) & (jnp.arange(len(order)) < droppable) & (total > 0) & allowed
    count = jnp.sum(dropped)
    return alive.at[order].multiply(~dropped), jnp.where(count > 0, lost_after[count - 1], lost)


def _outgoing_weights(network: Network, aligned: Network, value: int) -> list[jax.Array]:
    """The columns that read a value, in every layer of what is `aligned` with the network."""
    columns = []
    for layer, stage in zip(aligned.layers, network.wiring.stages, strict=True):
        if value in stage.reads:
            before = itertools.takewhile(lambda read: read != value, stage.reads)
            start = sum(network.widths[read] for read in before)
            columns.append(layer.weight[:, start : start + network.widths[value]])
    return columns


def _row_and_column_factors(
    network: Network, factors: PerNeuron, otherwise: float
) -> tuple[list[jax.Array | None], list[jax.Array | None]]:
    """For each layer the factors of its rows and of its columns; None where no neuron has any.

    Columns that belong to no neuron have the factor `otherwise`.
    """
    values = (i + 1 for i in hidden(network))
    of_value = dict(zip(values, by_layer(factors, network), strict=True))
    rows, columns = [], []
    for i, stage in enumerate(network.wiring.stages):
        rows.append(of_value.get(i + 1))
        pieces = [
            of_value.get(value, jnp.full(network.widths[value], otherwise)) for value in stage.reads
        ]
        columns.append(concatenate(pieces) if of_value.keys() & set(stage.reads) else None)
    return rows, columns
