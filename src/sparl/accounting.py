"""What networks hold: kept weights, neurons, bytes, multiply-adds, compression.

Counts of weights leave biases out, as the papers do. Bytes are those of a saved policy: float32
values, biases, and indices in the smallest type that holds them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sparl.layouts import Layout
from sparl.networks import MLP, Networks, layer_names
from sparl.topology import NofM


@dataclass(frozen=True)
class LayerReport:
    """One layer. `shape` is (out, in); `max_per_group` the most kept in any group of M inputs."""

    name: str
    layout: str
    pattern: str | None
    shape: tuple[int, int]
    kept: int
    max_per_group: int | None
    bytes: int
    macs: int

    @property
    def total(self) -> int:
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class NetworkReport:
    """One network: totals over its layers. `neurons` counts hidden ones."""

    layers: tuple[LayerReport, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "weights_total": sum(layer.total for layer in self.layers),
            "weights_kept": sum(layer.kept for layer in self.layers),
            "neurons": sum(layer.shape[0] for layer in self.layers[:-1]),
            "bytes": sum(layer.bytes for layer in self.layers),
            "macs": sum(layer.macs for layer in self.layers),
            "layers": [asdict(layer) for layer in self.layers],
        }


def report_network(network: MLP) -> NetworkReport:
    return NetworkReport(
        tuple(
            _report_layer(name, layer)
            for name, layer in zip(layer_names(network), network.layers, strict=True)
        )
    )


def report(networks: Networks, average_compression_ratio: float | None = None) -> dict[str, Any]:
    """The figures of `sparl inspect --json` for networks by name."""
    return {
        "networks": {name: report_network(n).as_dict() for name, n in networks.items()},
        "compression_ratio": compression_ratio(networks),
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


def compression_ratio(networks: Networks) -> float:
    """1 - stored / dense, over the weights of all `networks` (GST, 2101.09650).

    Stored is what training holds and moves: a straight-through layer stores all its weights.
    """
    layers = [layer for network in networks.values() for layer in network.layers]
    stored = sum(layer.weight.size for layer in layers)
    return 1.0 - stored / sum(math.prod(layer.shape) for layer in layers)


def sparsity(networks: Networks) -> float:
    """Share of the weights of all `networks` that take no part in their products."""
    layers = [layer for network in networks.values() for layer in network.layers]
    return 1.0 - sum(la.kept for la in layers) / sum(math.prod(la.shape) for la in layers)


def _report_layer(name: str, layer: Layout) -> LayerReport:
    pattern = getattr(layer, "pattern", None)
    return LayerReport(
        name=name,
        layout=layer.name,
        pattern=None if pattern is None else str(pattern),
        shape=layer.shape,
        kept=layer.kept,
        max_per_group=_fullest_group(layer, pattern.m) if isinstance(pattern, NofM) else None,
        bytes=layer.stored_bytes,
        macs=layer.macs,
    )


def _fullest_group(layer: Layout, m: int) -> int:
    """The most active weights in any group of `m` inputs, counted from the mask itself."""
    mask = np.asarray(layer.active(), bool)
    padded = np.pad(mask, ((0, 0), (0, -mask.shape[1] % m)))
    return int(padded.reshape(len(mask), -1, m).sum(-1).max())
