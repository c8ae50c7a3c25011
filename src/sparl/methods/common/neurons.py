"""Hidden neurons as groups of weights, which structured pruning weighs, shrinks and cuts out.

The group of a neuron is its row of weights, its bias, its column of weights in every layer that
reads its output, and gain and shift of the batch norms that it goes through, before its activation
or as an input of those layers. Networks here have `Dense` layers alone. A number per neuron is a
vector over all hidden neurons of a network, layer after layer. The functions that take a network
also take whatever is aligned with its weights: a gradient, an Adam moment, a target.

Some layers must keep all their outputs: those that are added to a residual stream, and those that
a layer norm reads, as it normalises each by all the others. `hidden` gives the other layers, whose
neurons can be removed one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sparl.layouts import Dense
from sparl.networks import IN_JAX, AnyNorm, Network

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
        if stage.input_norm == "layer":
            fixed |= set(stage.reads)
        if stage.norm == "layer":
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
        for weight in outgoing_weights(network, network, i + 1):
            group = group + jnp.sum(jnp.square(weight), axis=0)
        for norm in _norms_of(network, i):
            group = group + jnp.square(norm.gain) + jnp.square(norm.shift)
        squares.append(group)
    return jnp.sqrt(concatenate(squares))


def group_sizes(network: Network) -> list[int]:
    """The size of a neuron's group, for each hidden layer."""
    outgoing = [
        sum(
            network.layers[j].out_features
            for j, stage in enumerate(network.wiring.stages)
            if i + 1 in stage.reads
        )
        for i in hidden(network)
    ]
    incoming = (network.layers[i].in_features for i in hidden(network))
    norms = (2 * len(_norms_of(network, i)) for i in hidden(network))
    pieces = zip(incoming, outgoing, norms, strict=True)
    return [row + 1 + column + in_norms for row, column, in_norms in pieces]


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

    def scaled(norm: AnyNorm | None, by: jax.Array | None) -> AnyNorm | None:
        if norm is None or by is None:
            return norm
        return _with_gain_and_shift(norm, by * norm.gain, by * norm.shift)

    return replace(
        network,
        layers=tuple(layers),
        norms=tuple(map(scaled, network.norms, row_factors)),
        input_norms=tuple(map(scaled, network.input_norms, column_factors)),
    )


def fold_constants(network: Network, dropped: PerNeuron) -> Network:
    """Adds what neurons give as a constant to the biases of the layers that read them.

    Through a batch norm that is its shift: a neuron that is dropped takes no more along than how it
    differed from that. Without norms the constant is 0.

    Args:
        dropped: 1 for each neuron whose constant is wanted, else 0.
    """
    _, columns = _row_and_column_factors(network, dropped, otherwise=0.0)
    layers = []
    for i, layer in enumerate(network.layers):
        bias, of_columns = layer.bias, columns[i]
        if of_columns is not None:
            constant = concatenate([_constant(network, i, v) for v in _reads(network, i)])
            bias = bias + layer.weight @ (of_columns * constant)
        layers.append(Dense(layer.weight, bias))
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

    def added(g: AnyNorm | None, norm: AnyNorm | None, by: jax.Array | None) -> AnyNorm | None:
        if g is None or norm is None or by is None:
            return g
        return _with_gain_and_shift(g, g.gain + by * norm.gain, g.shift + by * norm.shift)

    return replace(
        gradient,
        layers=tuple(layers),
        norms=tuple(map(added, gradient.norms, network.norms, row_factors)),
        input_norms=tuple(map(added, gradient.input_norms, network.input_norms, column_factors)),
    )


def keep_neurons(network: Network, kept: Sequence[Int[Array, " _"]]) -> Network:
    """A smaller network that has the neurons `kept` alone.

    Args:
        kept: Indices of neurons, one vector for each hidden layer.
    """
    kept_of_value = dict(zip((i + 1 for i in hidden(network)), kept, strict=True))
    layers, norms, input_norms = [], [], []
    for i, layer in enumerate(network.layers):
        weight, bias = layer.weight, layer.bias
        norm, input_norm = network.norms[i], network.input_norms[i]
        if i + 1 in kept_of_value:
            rows = kept_of_value[i + 1]
            weight, bias = weight[rows], bias[rows]
            norm = jax.tree.map(lambda array, rows=rows: array[rows], norm)
        reads = _reads(network, i)
        if kept_of_value.keys() & set(reads):
            starts = itertools.accumulate((network.widths[value] for value in reads), initial=0)
            columns = concatenate(
                [
                    start + kept_of_value.get(value, jnp.arange(network.widths[value]))
                    for start, value in zip(starts, reads, strict=False)
                ]
            )
            weight = weight[:, columns]
            input_norm = jax.tree.map(lambda array, c=columns: array[c], input_norm)
        layers.append(Dense(weight, bias))
        norms.append(norm)
        input_norms.append(input_norm)
    new = {"layers": tuple(layers), "norms": tuple(norms), "input_norms": tuple(input_norms)}
    return replace(network, **new)


def outgoing_weights(network: Network, aligned: Network, value: int) -> list[jax.Array]:
    """The columns that read a value, in every layer of what is `aligned` with the network."""
    columns = []
    for layer, stage in zip(aligned.layers, network.wiring.stages, strict=True):
        if value in stage.reads:
            columns.append(layer.weight[:, _span(network, stage.reads, value)])
    return columns


def _span(network: Network, reads: Sequence[int], value: int) -> slice:
    """Where a value lies in the concatenation of those that a layer reads."""
    before = itertools.takewhile(lambda read: read != value, reads)
    start = sum(network.widths[read] for read in before)
    return slice(start, start + network.widths[value])


def _reads(network: Network, i: int) -> tuple[int, ...]:
    """The values that layer i reads."""
    return network.wiring.stages[i].reads


def _norms_of(network: Network, i: int) -> list[AnyNorm]:
    """The norms that the neurons of layer i go through, each with these features alone."""
    found = [] if network.norms[i] is None else [network.norm("norms", i)]
    for j, norm in enumerate(network.input_norms):
        reads = _reads(network, j)
        if norm is not None and i + 1 in reads:
            span = _span(network, reads, i + 1)
            found.append(jax.tree.map(lambda array, span=span: array[span], norm))
    return found


def _constant(network: Network, reader: int, value: int) -> jax.Array:
    """What a layer gets of a value's features when their norm gives its shift alone."""
    norm = network.input_norms[reader]
    if norm is not None:
        return norm.shift[_span(network, _reads(network, reader), value)]
    own = network.norms[value - 1] if value else None
    if own is None:
        return jnp.zeros(network.widths[value])
    activation = network.wiring.stages[value - 1].activation
    return own.shift if activation is None else IN_JAX.activations[activation](own.shift)


def _with_gain_and_shift(norm: AnyNorm, gain: jax.Array, shift: jax.Array) -> AnyNorm:
    return eqx.tree_at(lambda n: (n.gain, n.shift), norm, (gain, shift))


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
