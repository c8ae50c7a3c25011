"""Symmetric int8: weights scaled per row, inputs of a layer one by one, ranges from observations.

Weights are int8 and sums int32, which one float32 factor and one float32 bias per row take to the
next layer's inputs or to the outputs; where layers are no chain, to numbers in float32, of which
each layer that reads them makes steps. Inputs are int16: they are few beside the weights, and
products of 16 bits cost a small processor no more than those of 8.

The scale of an input is folded into its weights before these are rounded. Scales that follow the
inputs' ranges wholly leave inputs of large range with coarse weights, one scale for all wastes bits
on weights of no account: they follow the root of the ranges. Where weights are shared (circulant
blocks), so are the scales of the rows and inputs of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.exporters.layers import matrix, places
from sparl.layouts import BlockCirculant, Layout
from sparl.networks import IN_NUMPY, Network, Normalization, run

LARGEST = 127
"""Of the weights, in steps."""
HEADROOM = 2.0
"""An input's range, as a multiple of the largest size that was recorded: what lies beyond it counts
as its end."""


class Int8Layer(NamedTuple):
    """`weight` is aligned with the layer's own; sums of its products, times `factor`, plus `bias`,
    [out], are the next layer's activations in steps, or the outputs."""

    weight: NDArray[np.int8]
    factor: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class Int8Network:
    """A network in integers. `outputs` computes what exported code does, step by step."""

    network: Network
    steps: tuple[NDArray[np.float32] | None, ...]
    """[in]: steps per unit of each input, by layer; None where the layer before gives steps, as it
    does in a chain."""
    limits: tuple[int, ...]
    """Most steps of an input, by layer: as many as int16 has, and a sum of int32 bears."""
    layers: tuple[Int8Layer, ...]
    normalization: Normalization | None = None

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """[batch, obs] to [batch, out]."""

        def linear(i: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
            steps, stored = self.steps[i], self.layers[i]
            x = x if steps is None else x * steps[:, None]
            x = np.clip(_nearest(x), -self.limits[i], self.limits[i])
            sums = (self._matrices[i] @ x.astype(np.float64)).astype(np.float32)  # exact
            return sums * stored.factor[:, None] + stored.bias[:, None]

        x = np.asarray(observation, np.float32)
        x = x if self.normalization is None else self.normalization(x)
        y = run(self.network.wiring, x.T, linear, _normalised(self.network), IN_NUMPY).T
        return np.tanh(y) if self.network.squash else y

    @cached_property
    def _matrices(self) -> list[NDArray[np.float64]]:
        layers = zip(self.network.layers, self.layers, strict=True)
        return [matrix(layer, stored.weight).astype(np.float64) for layer, stored in layers]


def quantized(
    network: Network, observations: NDArray[np.float32], normalization: Normalization | None = None
) -> Int8Network:
    """`network`, for observations [batch, obs] of the range of these, which it sees through
    `normalization`."""
    if normalization is not None:
        observations = normalization(observations)
    limits = [min(2**15 - 1, (2**31 - 1) // (LARGEST * la.in_features)) for la in network.layers]
    scales = [  # of every layer [in], of one step
        _shared(size / limit, _group(layer))
        for size, limit, layer in zip(
            _ranges(network, observations), limits, network.layers, strict=True
        )
    ]
    chain = network.wiring.is_chain
    layers = []
    for i, layer in enumerate(network.layers):
        group = _group(layer)
        rows, columns = places(layer)
        folded = np.asarray(layer.weight, np.float64) * scales[i][::group][columns]
        largest = np.zeros(-(-layer.out_features // group))
        np.maximum.at(largest, np.broadcast_to(rows, folded.shape), np.abs(folded))
        row_scale = np.where(largest > 0, largest, LARGEST) / LARGEST
        factor = row_scale.repeat(group)[: layer.out_features]
        bias = np.asarray(layer.bias, np.float64)
        if chain and i < len(network.layers) - 1:
            factor, bias = factor / scales[i + 1], bias / scales[i + 1]
        weight = np.rint(folded / row_scale[rows]).astype(np.int8)
        layers.append(Int8Layer(weight, factor.astype(np.float32), bias.astype(np.float32)))
    steps = tuple(
        None if chain and i > 0 else (1.0 / scale).astype(np.float32)
        for i, scale in enumerate(scales)
    )
    return Int8Network(network, steps, tuple(limits), tuple(layers), normalization)


def _ranges(network: Network, observations: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Of every layer the sizes that its inputs [in] may have: at least what was recorded, with
    headroom."""
    found = []

    def linear(i: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
        size = HEADROOM * np.abs(x).max(axis=1)
        # What never moved in the recording may move on the device: it gets a range like others'.
        moved = size[size > 0]
        size = np.where(size > 0, size, moved.mean() if moved.size else 1.0)
        found.append(np.sqrt(size * size.max()))
        weight = matrix(network.layers[i], np.asarray(network.layers[i].weight, np.float64))
        return weight @ x + np.asarray(network.layers[i].bias, np.float64)[:, None]

    x = np.asarray(observations, np.float64).T
    run(network.wiring, x, linear, _normalised(network), IN_NUMPY)
    return found


def _normalised(network: Network) -> Callable[[int, Any], Any]:
    def normalised(i: int, x: Any) -> Any:
        norm = network.norms[i]
        assert norm is not None
        return norm.normalised(x, *map(np.asarray, vars(norm).values()))

    return normalised


def _group(layer: Layout) -> int:
    return layer.group if isinstance(layer, BlockCirculant) else 1


def _shared(scale: NDArray[np.float64], group: int) -> NDArray[np.float64]:
    """The largest scale of every group of inputs, for all of the group."""
    padded = np.pad(scale, (0, -len(scale) % group)).reshape(-1, group)
    return padded.max(axis=1).repeat(group)[: len(scale)]


def _nearest(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """To the nearest integer, halves away from 0, as C does it by cutting off after adding."""
    return np.trunc(x + np.copysign(np.float32(0.5), x))
