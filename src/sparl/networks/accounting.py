"""What networks hold: kept weights, neurons, bytes, multiply-adds, compression.

Counts of weights leave biases out, as the papers do. Bytes are those of a saved policy: float32
values, biases, and indices in the smallest type that holds them. What networks hold is compared
with what they were made with: `originals`, the shapes of their layers before any neuron was cut
out; their present shapes where that is not given.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from sparl.layouts import Layout
from sparl.networks.network import Network, Networks, layer_names
from sparl.networks.norms import BatchNorm, LayerNorm
from sparl.topology import NofM

Shapes = tuple[tuple[int, int], ...]
"""(out, in) of each layer of a network."""


def shapes_of(network: Network) -> Shapes:
    return tuple(layer.shape for layer in network.layers)


@dataclass(frozen=True)
class LayerReport:
    """One layer. `shape` is (out, in), `original_shape` that before any neuron was cut out;
    `max_per_group` the most kept in any group of M inputs; `norm_bytes` are those of a norm that
    belongs to it, counted in `bytes` too."""

    name: str
    layout: str
    pattern: str | None
    shape: tuple[int, int]
    original_shape: tuple[int, int]
    kept: int
    max_per_group: int | None
    norm_bytes: int
    bytes: int
    macs: int

    @property
    def total(self) -> int:
        return math.prod(self.original_shape)


@dataclass(frozen=True)
class NetworkReport:
    """One network: totals over its layers. `neurons` counts hidden ones."""

    layers: tuple[LayerReport, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "weights_total": sum(layer.total for layer in self.layers),
            "weights_kept": sum(layer.kept for layer in self.layers),
            "neurons_total": sum(layer.original_shape[0] for layer in self.layers[:-1]),
            "neurons": sum(layer.shape[0] for layer in self.layers[:-1]),
            "bytes": sum(layer.bytes for layer in self.layers),
            "macs": sum(layer.macs for layer in self.layers),
            "layers": [asdict(layer) for layer in self.layers],
        }


def report_network(network: Network, original: Shapes) -> NetworkReport:
    rows = zip(layer_names(network), network.layers, original, network.norms, strict=True)
    return NetworkReport(tuple(_report_layer(*row) for row in rows))


def report(
    networks: Networks,
    originals: dict[str, Shapes] | None = None,
    average_compression_ratio: float | None = None,
) -> dict[str, Any]:
    """The figures of `sparl inspect --json` for networks by name."""
    return {
        "networks": {
            name: report_network(network, _original(name, network, originals)).as_dict()
            for name, network in networks.items()
        },
        "compression_ratio": footprint(networks, originals).compression_ratio,
        "average_compression_ratio": average_compression_ratio,
    }


def sizes(networks: dict[str, Any], policy: dict[str, Any]) -> dict[str, int]:
    """The sizes in summary.json, of two reports: of all networks, targets not counted, and of the
    policy alone."""
    online = [n for name, n in networks["networks"].items() if not name.startswith("target_")]
    (alone,) = policy["networks"].values()
    return {
        "weights_kept": sum(network["weights_kept"] for network in online),
        "weights_total": sum(network["weights_total"] for network in online),
        "policy_weights_kept": alone["weights_kept"],
        "policy_weights_total": alone["weights_total"],
        "policy_bytes": alone["bytes"],
    }


class Footprint(NamedTuple):
    """What networks, targets included, hold and move in one update of training (GST, 2101.09650).

    Traffic is a model: that of a device whose caches hold no network, in an update in which all of
    them take part. A network's weights are read forward, backward and by the optimizer, which
    writes them; a target's are read forward and by Polyak averaging, which reads the network's once
    more, and writes the target's. Forward and backward passes read the indices too. Moments,
    gradients and activations are not counted.
    """

    compression_ratio: float
    """1 - stored / dense, of weights: a straight-through layer stores all of its own."""
    compression_ratio_with_indices: float
    """The same of bytes, those of indices stored too."""
    weight_bytes_read: float
    weight_bytes_written: float


def footprint(networks: Networks, originals: dict[str, Shapes] | None = None) -> Footprint:
    """Of what training holds and moves."""
    total, stored, indices, read, written = _total(networks, originals), 0, 0, 0, 0
    for name, network in networks.items():
        values = 4 * sum(layer.weight.size for layer in network.layers)
        places = sum(layer.index_bytes for layer in network.layers)
        stored, indices, written = stored + values, indices + places, written + values
        if name.startswith("target_"):
            read += values + places + 2 * values
        else:
            read += 2 * (values + places) + values
    return Footprint(
        1.0 - stored / (4 * total), 1.0 - (stored + indices) / (4 * total), read, written
    )


def sparsity(networks: Networks, originals: dict[str, Shapes] | None = None) -> float:
    """Share of the weights of all `networks` that take no part in their products."""
    used = sum(layer.macs for network in networks.values() for layer in network.layers)
    return 1.0 - used / _total(networks, originals)


def _total(networks: Networks, originals: dict[str, Shapes] | None) -> int:
    """Weights of the dense networks that those were made from."""
    found = (_original(name, network, originals) for name, network in networks.items())
    return sum(math.prod(shape) for shapes in found for shape in shapes)


def _original(name: str, network: Network, originals: dict[str, Shapes] | None) -> Shapes:
    """A target has those of the network that it follows."""
    return shapes_of(network) if originals is None else originals[name.removeprefix("target_")]


def _report_layer(
    name: str, layer: Layout, original: tuple[int, int], norm: LayerNorm | BatchNorm | None
) -> LayerReport:
    pattern = getattr(layer, "pattern", None)
    return LayerReport(
        name=name,
        layout=layer.name,
        pattern=None if pattern is None else str(pattern),
        shape=layer.shape,
        original_shape=original,
        kept=layer.kept,
        max_per_group=_fullest_group(layer, pattern.m) if isinstance(pattern, NofM) else None,
        norm_bytes=4 * sum(array.size for array in jax.tree.leaves(norm)),
        bytes=layer.stored_bytes + 4 * sum(array.size for array in jax.tree.leaves(norm)),
        macs=layer.macs,
    )


def _fullest_group(layer: Layout, m: int) -> int:
    """The most active weights in any group of `m` inputs, counted from the mask itself."""
    mask = np.asarray(layer.active(), bool)
    padded = np.pad(mask, ((0, 0), (0, -mask.shape[1] % m)))
    return int(padded.reshape(len(mask), -1, m).sum(-1).max())
