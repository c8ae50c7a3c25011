"""Symmetric int8: weights scaled per row, activations per neuron, scales from observations.

Weights are int8, activations uint8 (they are past a ReLU), observations int8, sums int32, which one
float32 factor and one float32 bias per row take to the next layer's activations or to the outputs.
The scale of what comes in is folded into the weights before these are rounded, so that an input of
small range costs nothing, and a scale per neuron is free: it is part of the row's factor. Where
weights are shared (circulant blocks), so are the scales of the rows and inputs of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.devices.layers import matrix, places
from sparl.layouts import BlockCirculant, Layout
from sparl.networks import MLP

SIGNED, UNSIGNED = 127, 255
"""Largest observation and weight, and largest activation, in steps."""
TAIL = 0.001
"""Share of the recorded values of an input that may lie beyond its range, and saturate."""


class Int8Layer(NamedTuple):
    """`weight` is aligned with the layer's own; sums of its products, times `factor`, plus `bias`,
    [out], are the next layer's activations in steps, or the outputs."""

    weight: NDArray[np.int8]
    factor: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class Int8Network:
    """A network in integers. `outputs` computes what exported code does, step by step."""

    network: MLP
    steps: NDArray[np.float32]
    """[obs]: steps per unit of each observation, of which there are at most 127."""
    layers: tuple[Int8Layer, ...]

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """[batch, obs] to [batch, out]."""
        scaled = np.asarray(observation, np.float32) * self.steps
        x = np.clip(_nearest(scaled), -SIGNED, SIGNED)
        for i, stored in enumerate(self.layers):
            sums = (x.astype(np.float64) @ self._matrices[i].T).astype(np.float32)  # exact
            x = sums * stored.factor + stored.bias
            if i < len(self.layers) - 1:
                x = np.clip(_nearest(x), 0, UNSIGNED)
        return np.tanh(x) if self.network.squash else x

    @cached_property
    def _matrices(self) -> list[NDArray[np.float64]]:
        layers = zip(self.network.layers, self.layers, strict=True)
        return [matrix(layer, stored.weight).astype(np.float64) for layer, stored in layers]


def quantized(network: MLP, observations: NDArray[np.float32]) -> Int8Network:
    """`network`, for observations [batch, obs] of the range of these."""
    ranges = _ranges(network, observations)
    layers, steps = [], None
    for i, layer in enumerate(network.layers):
        group = _group(layer)
        scale = _shared(ranges[i] / (UNSIGNED if i else SIGNED), group)  # [in], of one step
        if steps is None:
            steps = (1.0 / scale).astype(np.float32)
        rows, columns = places(layer)
        folded = np.asarray(layer.weight, np.float64) * scale[::group][columns]
        largest = np.zeros(-(-layer.out_features // group))
        np.maximum.at(largest, np.broadcast_to(rows, folded.shape), np.abs(folded))
        row_scale = np.where(largest > 0, largest, SIGNED) / SIGNED
        factor = row_scale.repeat(group)[: layer.out_features]
        bias = np.asarray(layer.bias, np.float64)
        if i < len(network.layers) - 1:
            after = _shared(ranges[i + 1] / UNSIGNED, _group(network.layers[i + 1]))
            factor, bias = factor / after, bias / after
        weight = np.rint(folded / row_scale[rows]).astype(np.int8)
        layers.append(Int8Layer(weight, factor.astype(np.float32), bias.astype(np.float32)))
    assert steps is not None
    return Int8Network(network, steps, tuple(layers))


def _ranges(network: MLP, observations: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Of every layer's inputs the size that all but the tail stay within."""
    found, x = [], np.asarray(observations, np.float64)
    for layer in network.layers:
        size = np.quantile(np.abs(x), 1.0 - TAIL, axis=0)
        # What never moved in the recording may move on the device: it gets a range like others'.
        moved = size[size > 0]
        found.append(np.where(size > 0, size, moved.mean() if moved.size else 1.0))
        weight = matrix(layer, np.asarray(layer.weight, np.float64))
        x = np.maximum(x @ weight.T + np.asarray(layer.bias, np.float64), 0.0)
    return found


def _group(layer: Layout) -> int:
    return layer.group if isinstance(layer, BlockCirculant) else 1


def _shared(scale: NDArray[np.float64], group: int) -> NDArray[np.float64]:
    """The largest scale of every group of inputs, for all of the group."""
    padded = np.pad(scale, (0, -len(scale) % group)).reshape(-1, group)
    return padded.max(axis=1).repeat(group)[: len(scale)]


def _nearest(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """To the nearest integer, halves away from 0, as C does it by cutting off after adding."""
    return np.trunc(x + np.copysign(np.float32(0.5), x))
