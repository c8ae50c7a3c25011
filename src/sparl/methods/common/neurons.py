"""Hidden neurons as groups of weights: what structured pruning weighs, shrinks and cuts out.

A neuron is a row of its layer's weights, its bias, and the columns that its output meets, in every
layer that reads it. Networks here are of `Dense` layers; a number per neuron is a vector over all
hidden neurons of a network, layer after layer. Whatever is aligned with the weights (a gradient,
an Adam moment, a target) may stand in the place of a network.

Not every layer's outputs can go one by one. Those of a residual stream are added up, a layer norm
looks at all of what it is given, and a batch norm makes something even of a row of zeros. `hidden`
are the layers whose neurons can go.
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
"""For divisions by what may be zero."""

PerNeuron = Float[Array | np.ndarray, " neurons"]


def hidden(network: Network) -> tuple[int, ...]:
    """The layers whose neurons can go."""
    wiring = network.wiring
    stay = {0, *wiring.gives}
    for value, stage in enumerate(wiring.stages, start=1):
        if stage.adds is not None:
            stay |= {stage.adds, value}
        if stage.norm == "layer":
            stay |= set(stage.reads)
        if stage.norm == "batch":
            stay |= {value}
    return tuple(i for i in range(len(network.layers)) if i + 1 not in stay)


def widths(network: Network) -> tuple[int, ...]:
    """Neurons of each hidden layer."""
    return tuple(network.layers[i].out_features for i in hidden(network))


def by_layer(values: PerNeuron, network: Network) -> list[Any]:
    """A number per neuron, cut into the hidden layers."""
    ends = list(itertools.accumulate(widths(network)))
    return [values[first:end] for first, end in zip([0, *ends], ends, strict=False)]


def weights(network: Network) -> int:
    """Weights of all layers, biases not counted."""
    return weights_between(network, widths(network))


def weights_between(network: Network, left: Sequence[int]) -> int:
    """Weights of the network with hidden layers of these widths."""
    found = list(network.widths)
    for i, width in zip(hidden(network), left, strict=True):
        found[i + 1] = width
    return sum(
        found[i + 1] * sum(found[value] for value in stage.reads)
        for i, stage in enumerate(network.wiring.stages)
    )


def norms(network: Network) -> PerNeuron:
    """The Euclidean norm of each group."""
    squares = []
    for i in hidden(network):
        layer = network.layers[i]
        group = jnp.sum(jnp.square(layer.weight), axis=1) + jnp.square(layer.bias)
        for weight in _columns(network, network, i + 1):
            group = group + jnp.sum(jnp.square(weight), axis=0)
        squares.append(group)
    return jnp.sqrt(joined(squares))


def sizes(network: Network) -> list[int]:
    """Numbers in a group, for each hidden layer."""
    read_by = [
        sum(
            network.layers[j].out_features
            for j, stage in enumerate(network.wiring.stages)
            if i + 1 in stage.reads
        )
        for i in hidden(network)
    ]
    inputs = (network.layers[i].in_features for i in hidden(network))
    return [own + 1 + after for own, after in zip(inputs, read_by, strict=True)]


def saliency(network: Network, gradient: Network) -> PerNeuron:
    """|sum over the batch of a_j dL/da_j|, the first-order change of the loss without neuron j
    (Taylor pruning, 1611.06440).

    It equals |sum_k w_kj g_kj| over the columns that its output meets, whatever the activation, so
    that weights and gradients are enough.
    """
    products = []
    for i in hidden(network):
        pairs = zip(
            _columns(network, network, i + 1), _columns(network, gradient, i + 1), strict=True
        )
        products.append(sum(jnp.sum(weight * g, axis=0) for weight, g in pairs))
    return jnp.abs(joined(products))


def scaled(network: Network, factors: PerNeuron) -> Network:
    """Every group times its factor; a weight between two neurons takes both."""
    of_rows, of_columns = _spread(network, factors, otherwise=1.0)
    layers = []
    for layer, rows, columns in zip(network.layers, of_rows, of_columns, strict=True):
        weight, bias = layer.weight, layer.bias
        if rows is not None:
            weight, bias = weight * rows[:, None], bias * rows
        if columns is not None:
            weight = weight * columns[None, :]
        layers.append(Dense(weight, bias))
    return network.with_layers(layers)


def pulled(gradient: Network, network: Network, factors: PerNeuron) -> Network:
    """`gradient` plus, group by group, `network` times its factor."""
    of_rows, of_columns = _spread(network, factors, otherwise=0.0)
    layers = []
    for layer, g, rows, columns in zip(
        network.layers, gradient.layers, of_rows, of_columns, strict=True
    ):
        weight, bias = g.weight, g.bias
        if rows is not None:
            weight = weight + rows[:, None] * layer.weight
            bias = bias + rows * layer.bias
        if columns is not None:
            weight = weight + columns[None, :] * layer.weight
        layers.append(Dense(weight, bias))
    return gradient.with_layers(layers)


def narrowed(network: Network, kept: Sequence[Int[Array, " _"]]) -> Network:
    """The network of the neurons `kept`, indices for each hidden layer: a smaller one."""
    chosen = dict(zip((i + 1 for i in hidden(network)), kept, strict=True))
    layers = []
    for i, layer in enumerate(network.layers):
        weight, bias = layer.weight, layer.bias
        if i + 1 in chosen:
            weight, bias = weight[chosen[i + 1]], bias[chosen[i + 1]]
        reads = network.wiring.stages[i].reads
        if chosen.keys() & set(reads):
            starts = itertools.accumulate((network.widths[value] for value in reads), initial=0)
            columns = [
                start + chosen.get(value, jnp.arange(network.widths[value]))
                for start, value in zip(starts, reads, strict=False)
            ]
            weight = weight[:, joined(columns)]
        layers.append(Dense(weight, bias))
    return network.with_layers(layers)


def shares(importance: PerNeuron, network: Network) -> Float[Array, " neurons"]:
    """Importance as a share of the layer's largest, I_j / max I; 0 where there is none."""
    layers = by_layer(importance, network)
    return joined([layer / jnp.maximum(jnp.max(layer), TINY) for layer in layers])


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


def _columns(network: Network, aligned: Network, value: int) -> list[jax.Array]:
    """Of what is `aligned` with a network, the columns that a value meets, of every reader."""
    found = []
    for layer, stage in zip(aligned.layers, network.wiring.stages, strict=True):
        if value in stage.reads:
            before = itertools.takewhile(lambda read: read != value, stage.reads)
            start = sum(network.widths[read] for read in before)
            found.append(layer.weight[:, start : start + network.widths[value]])
    return found


def _spread(
    network: Network, factors: PerNeuron, otherwise: float
) -> tuple[list[jax.Array | None], list[jax.Array | None]]:
    """A number per neuron as one per row and one per column of each layer, `otherwise` for what is
    no neuron's; None for a layer that has no neuron among them."""
    values = (i + 1 for i in hidden(network))
    known = dict(zip(values, by_layer(factors, network), strict=True))
    rows, columns = [], []
    for i, stage in enumerate(network.wiring.stages):
        rows.append(known.get(i + 1))
        pieces = [
            known.get(value, jnp.full(network.widths[value], otherwise)) for value in stage.reads
        ]
        columns.append(joined(pieces) if known.keys() & set(stage.reads) else None)
    return rows, columns


def joined(per_layer: Sequence[jax.Array]) -> jax.Array:
    """Vectors one behind the other; an empty one of none."""
    return jnp.concatenate(per_layer) if per_layer else jnp.zeros(0)
