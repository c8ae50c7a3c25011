"""The size of networks: kept weights, neurons, bytes, multiply-adds, compression.

Counts of weights leave biases out, as the papers do. Bytes are those of a saved policy: float32
values, biases, and indices in the smallest type that holds them.

Ratios compare networks with the dense networks that they were made from. Most functions here take
those as `originals`: by network, the shapes of the layers before any neuron was cut out. Without
them, networks count as made in their present shapes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from sparl.layouts import Layout
from sparl.networks.network import HEAD, Network, Networks, layer_names
from sparl.networks.norms import AnyNorm
from sparl.topology import NofM

Shapes = tuple[tuple[int, int], ...]
"""(out, in) of each layer of a network."""


def shapes_of(network: Network) -> Shapes:
    """(out, in) of each layer of a network."""
    return tuple(layer.shape for layer in network.layers)


@dataclass(frozen=True)
class LayerReport:
    """The size of one layer."""

    name: str
    layout: str
    pattern: str | None
    shape: tuple[int, int]
    """(out, in)."""
    original_shape: tuple[int, int]
    """The shape before any neuron was cut out."""
    kept: int
    """Weights."""
    max_per_group: int | None
    """The most weights kept in any group of M inputs; None without an N:M pattern."""
    norm_bytes: int
    """Bytes of the layer's norms."""
    bytes: int
    """Bytes of the layer, its norms included."""
    macs: int
    """Multiply-adds for one input vector."""

    @property
    def total(self) -> int:
        """Weights of the original dense layer."""
        return math.prod(self.original_shape)


@dataclass(frozen=True)
class NetworkReport:
    """The size of one network."""

    layers: tuple[LayerReport, ...]

    def as_dict(self) -> dict[str, Any]:
        """The layers and their totals, for JSON; `neurons` counts hidden neurons only."""
        hidden = [layer for layer in self.layers if layer.name != HEAD]
        return {
            "weights_total": sum(layer.total for layer in self.layers),
            "weights_kept": sum(layer.kept for layer in self.layers),
            "neurons_total": sum(layer.original_shape[0] for layer in hidden),
            "neurons": sum(layer.shape[0] for layer in hidden),
            "bytes": sum(layer.bytes for layer in self.layers),
            "macs": sum(layer.macs for layer in self.layers),
            "layers": [asdict(layer) for layer in self.layers],
        }


def report_network(network: Network, original: Shapes) -> NetworkReport:
    """The size of a network whose layers had the shapes `original` when it was made."""
    norms = zip(network.norms, network.input_norms, strict=True)
    rows = zip(layer_names(network), network.layers, original, norms, strict=True)
    return NetworkReport(tuple(_report_layer(*row) for row in rows))


def report(
    networks: Networks,
    originals: dict[str, Shapes] | None = None,
    average_compression_ratio: float | None = None,
) -> dict[str, Any]:
    """The figures of `sparl inspect --json`.

    Args:
        networks: By name.
        originals: See the module.
        average_compression_ratio: The mean over the training run, where it is known.
    """
    return {
        "networks": {
            name: report_network(network, _original_shapes(name, network, originals)).as_dict()
            for name, network in networks.items()
        },
        "compression_ratio": footprint(networks, originals).compression_ratio,
        "average_compression_ratio": average_compression_ratio,
    }


def sizes(networks: dict[str, Any], policy: dict[str, Any]) -> dict[str, int]:
    """The sizes in summary.json.

    Args:
        networks: What `report` gives for all networks; targets are not counted.
        policy: What `report` gives for the policy's network.
    """
    online = [
        network for name, network in networks["networks"].items() if not name.startswith("target_")
    ]
    (policy_network,) = policy["networks"].values()
    return {
        "weights_kept": sum(network["weights_kept"] for network in online),
        "weights_total": sum(network["weights_total"] for network in online),
        "policy_weights_kept": policy_network["weights_kept"],
        "policy_weights_total": policy_network["weights_total"],
        "policy_bytes": policy_network["bytes"],
    }


class Footprint(NamedTuple):
    """What all networks, targets included, store and move while training (GST, 2101.09650).

    The traffic is a model of one update in which all networks take part, on a device whose caches
    hold no network:

    - A network's weights are read forward, backward and by the optimizer, which writes them.
    - A target's weights are read forward and by Polyak averaging, which writes them. The averaging
      also reads the online network's weights once more.
    - Forward and backward passes read the indices too.
    - Moments, gradients and activations are not counted.
    """

    compression_ratio: float
    """1 - stored / dense weights; a straight-through layer stores all of its weights."""
    compression_ratio_with_indices: float
    """1 - stored / dense bytes, where indices count as stored."""
    weight_bytes_read: float
    weight_bytes_written: float


def footprint(networks: Networks, originals: dict[str, Shapes] | None = None) -> Footprint:
    """The memory and the traffic of `networks` in one update of training."""
    weight_bytes = index_bytes = bytes_read = 0
    for name, network in networks.items():
        values = 4 * sum(layer.weight.size for layer in network.layers)
        indices = sum(layer.index_bytes for layer in network.layers)
        weight_bytes, index_bytes = weight_bytes + values, index_bytes + indices
        if name.startswith("target_"):
            forward, averaging = values + indices, 2 * values
            bytes_read += forward + averaging
        else:
            forward_and_backward, optimizer = 2 * (values + indices), values
            bytes_read += forward_and_backward + optimizer
    dense_bytes = 4 * _dense_weights(networks, originals)
    return Footprint(
        compression_ratio=1.0 - weight_bytes / dense_bytes,
        compression_ratio_with_indices=1.0 - (weight_bytes + index_bytes) / dense_bytes,
        weight_bytes_read=bytes_read,
        weight_bytes_written=weight_bytes,
    )


def sparsity(networks: Networks, originals: dict[str, Shapes] | None = None) -> float:
    """The share of the original weights of all `networks` that take no part in their products."""
    used = sum(layer.macs for network in networks.values() for layer in network.layers)
    return 1.0 - used / _dense_weights(networks, originals)


def _dense_weights(networks: Networks, originals: dict[str, Shapes] | None) -> int:
    """The number of weights of the dense networks that `networks` were made from."""
    all_shapes = (_original_shapes(name, network, originals) for name, network in networks.items())
    return sum(math.prod(shape) for shapes in all_shapes for shape in shapes)


def _original_shapes(name: str, network: Network, originals: dict[str, Shapes] | None) -> Shapes:
    """The original shapes of a network; a target has those of its online network."""
    return shapes_of(network) if originals is None else originals[name.removeprefix("target_")]


def _report_layer(
    name: str, layer: Layout, original: tuple[int, int], norms: tuple[AnyNorm | None, ...]
) -> LayerReport:
    """The size of a layer and of the norms that belong to it."""
    pattern = getattr(layer, "pattern", None)
    norm_bytes = 4 * sum(array.size for array in jax.tree.leaves(norms))
    return LayerReport(
        name=name,
        layout=layer.name,
        pattern=None if pattern is None else str(pattern),
        shape=layer.shape,
        original_shape=original,
        kept=layer.kept,
        max_per_group=_fullest_group(layer, pattern.m) if isinstance(pattern, NofM) else None,
        norm_bytes=norm_bytes,
        bytes=layer.stored_bytes + norm_bytes,
        macs=layer.macs,
    )


def _fullest_group(layer: Layout, m: int) -> int | None:
    """The most active weights in any group of `m` inputs, counted in the mask itself.

    None where the layer has shapes in place of arrays.
    """
    if isinstance(layer.weight, jax.ShapeDtypeStruct):
        return None
    mask = np.asarray(layer.active(), bool)
    padded = np.pad(mask, ((0, 0), (0, -mask.shape[1] % m)))
    return int(padded.reshape(len(mask), -1, m).sum(-1).max())
