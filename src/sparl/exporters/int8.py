"""Symmetric int8 quantization: one scale per row of weights and one per input of a layer.

Weights are int8 and sums are int32. One float32 factor and one float32 bias per row turn a sum into
the next layer's input in steps, or into an output. In a network that is no chain, they turn it into
a float32 number, and every layer that reads this number quantizes it for itself. Inputs are int16:
they are few compared with the weights, and products of 16 bits cost a small processor no more than
those of 8.

The scale of an input is folded into its column of weights before these are rounded. Scales
proportional to the ranges of the inputs would leave coarse weights to inputs of large range; a
single scale for all inputs would waste bits on weights that hardly matter. So the scales follow the
square root of the ranges, which come from recorded observations. Where blocks share weights
(circulant blocks), the rows and the inputs of a block share one scale, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.exporters.layers import dense_matrix, places
from sparl.layouts import BlockCirculant, Layout
from sparl.networks import IN_NUMPY, Network, Normalization, Place, run

LARGEST = 127
"""Largest size of a weight, in steps."""
HEADROOM = 2.0
"""Range of an input as a multiple of the largest size that was recorded; values beyond it are
clipped."""


class Int8Layer(NamedTuple):
    """The integers of one layer, and what turns its sums into the next layer's inputs."""

    weight: NDArray[np.int8]
    """Aligned with the layer's own weights."""
    factor: NDArray[np.float32]
    """[out]: sums are multiplied by it."""
    bias: NDArray[np.float32]
    """[out]: added after `factor`."""


@dataclass(frozen=True)
class Int8Network:
    """A network in integers. `outputs` computes what the exported code does, step by step."""

    network: Network
    steps: tuple[NDArray[np.float32] | None, ...]
    """Per layer [in]: steps per unit of each input. None where the layer before gives steps itself,
    as in a chain."""
    limits: tuple[int, ...]
    """Per layer: the most steps of an input. int16 holds as many, and no int32 sum overflows."""
    layers: tuple[Int8Layer, ...]
    normalization: Normalization | None = None

    def outputs(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Gives the network's outputs [batch, out] for observations [batch, obs]."""

        def linear(i: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
            steps, quantized_layer = self.steps[i], self.layers[i]
            x = x if steps is None else x * steps[:, None]
            x = np.clip(_nearest(x), -self.limits[i], self.limits[i])
            # float64 holds every int32 sum exactly.
            sums = (self._matrices[i] @ x.astype(np.float64)).astype(np.float32)
            return sums * quantized_layer.factor[:, None] + quantized_layer.bias[:, None]

        x = np.asarray(observation, np.float32)
        x = x if self.normalization is None else self.normalization(x)
        y = run(self.network.wiring, x.T, linear, _apply_norm(self.network), IN_NUMPY).T
        return np.tanh(y) if self.network.squash else y

    @cached_property
    def _matrices(self) -> list[NDArray[np.float64]]:
        layers = zip(self.network.layers, self.layers, strict=True)
        return [dense_matrix(layer, int8.weight).astype(np.float64) for layer, int8 in layers]


def quantize_network(
    network: Network, observations: NDArray[np.float32], normalization: Normalization | None = None
) -> Int8Network:
    """Quantizes a network for the range of recorded observations.

    Args:
        network: The network of the policy.
        observations: [batch, obs], as the environment gives them.
        normalization: What the policy applies to observations before the network.
    """
    if normalization is not None:
        observations = normalization(observations)
    limits = [min(2**15 - 1, (2**31 - 1) // (LARGEST * la.in_features)) for la in network.layers]
    input_scales = [  # per layer [in]: the size of one step
        _share_scale(size / limit, _group(layer))
        for size, limit, layer in zip(
            _ranges(network, observations), limits, network.layers, strict=True
        )
    ]
    chain = network.wiring.is_chain
    layers = []
    for i, layer in enumerate(network.layers):
        group = _group(layer)
        rows, columns = places(layer)
        folded = np.asarray(layer.weight, np.float64) * input_scales[i][::group][columns]
        largest = np.zeros(-(-layer.out_features // group))
        np.maximum.at(largest, np.broadcast_to(rows, folded.shape), np.abs(folded))
        row_scale = np.where(largest > 0, largest, LARGEST) / LARGEST
        factor = row_scale.repeat(group)[: layer.out_features]
        bias = np.asarray(layer.bias, np.float64)
        if chain and i < len(network.layers) - 1:
            factor, bias = factor / input_scales[i + 1], bias / input_scales[i + 1]
        weight = np.rint(folded / row_scale[rows]).astype(np.int8)
        layers.append(Int8Layer(weight, factor.astype(np.float32), bias.astype(np.float32)))
    steps = tuple(
        None if chain and i > 0 else (1.0 / scale).astype(np.float32)
        for i, scale in enumerate(input_scales)
    )
    return Int8Network(network, steps, tuple(limits), tuple(layers), normalization)


def _ranges(network: Network, observations: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Gives per layer the range [in] of its inputs, from the recorded ones with headroom."""
    ranges = []

    def linear(i: int, x: NDArray[np.float64]) -> NDArray[np.float64]:
        size = HEADROOM * np.abs(x).max(axis=1)
        # An input that was always 0 in the recording may still move on the device: it gets the
        # mean range of the others.
        moved = size[size > 0]
        size = np.where(size > 0, size, moved.mean() if moved.size else 1.0)
        ranges.append(np.sqrt(size * size.max()))
        weight = dense_matrix(network.layers[i], np.asarray(network.layers[i].weight, np.float64))
        return weight @ x + np.asarray(network.layers[i].bias, np.float64)[:, None]

    x = np.asarray(observations, np.float64).T
    run(network.wiring, x, linear, _apply_norm(network), IN_NUMPY)
    return ranges


def _apply_norm(network: Network) -> Callable[[Place, int, Any], Any]:
    def normalised(place: Place, i: int, x: Any) -> Any:
        norm = network.norm(place, i)
        return norm.normalised(x, *map(np.asarray, vars(norm).values()))

    return normalised


def _group(layer: Layout) -> int:
    return layer.group if isinstance(layer, BlockCirculant) else 1


def _share_scale(scale: NDArray[np.float64], group: int) -> NDArray[np.float64]:
    """Gives every input the largest scale of its group of inputs."""
    padded = np.pad(scale, (0, -len(scale) % group)).reshape(-1, group)
    return padded.max(axis=1).repeat(group)[: len(scale)]


def _nearest(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounds to the nearest integer, halves away from 0, as the C code does by truncation."""
    return np.trunc(x + np.copysign(np.float32(0.5), x))
