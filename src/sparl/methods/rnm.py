"""RNM: row-wise N:M sparsity throughout training (RNM-TD3, 2602.14578, 2026).

The paper says: a projection onto row-wise N:M sparsity and its masks are enforced throughout
training for all six networks of TD3; gradients update only active weights; targets follow by
Polyak averaging. Masks need not be updated often, and a stable Sparse Architecture Divergence
(SAD, the mask bits that flip between two updates) goes with better return.

Our reading, where the paper leaves room:
- Groups are of M consecutive inputs of one output neuron; the N largest |w| of each are active.
- If dormant weights were zero, no mask could ever change. They keep their last value, in this
  method's state; a restructuring compares active with dormant values, and a weight that wakes up
  resumes at its dormant value with zero Adam moments. Its target takes the online value.
- Small first layers and heads stay dense unless all layers are asked for: at 1:8 a neuron of a
  first layer with 17 inputs would keep 3 of them, and return falls to a quarter.
- The kept weights of the start are scaled up so that each layer keeps its Frobenius norm.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import validation
from sparl.errors import BadValue
from sparl.layouts import Layout, RowSparse, StraightThrough
from sparl.learner import Learner, Role, transport
from sparl.methods.common.method import (
    AfterStep,
    MethodState,
    RowWise,
    Signals,
    figures,
    replace_layers,
    scaled_to_norm,
)
from sparl.networks import Network, Networks, layer_names

SMALL_INPUT = 8
"""A first layer with fewer than this many times M inputs counts as small."""


@dataclass(frozen=True)
class RNM(RowWise):
    """Row-wise N:M sparsity in every network: online, target, actor and critics."""

    name: ClassVar[str] = "rnm"
    prunes: ClassVar[bool] = True

    interval: int = 1000
    """Updates between two choices of the active weights; 0 keeps those of the start."""
    sparse_layers: Literal["hidden", "all"] = "hidden"
    """hidden: heads, and first layers with fewer than 8 M inputs, stay dense. all: every layer."""
    keep_norm: bool = True
    """Scale the kept weights at the start so that each layer keeps its Frobenius norm."""
    straight_through: bool = False
    """Train dormant weights too, by straight-through gradients (SR-STE, 2102.04010). Costs as
    much as a dense agent and stores as much while training."""
    dormant_decay: float = 2e-4
    """With straight-through: decay of dormant weights, times the learning rate, after Adam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interval < 0:
            raise BadValue(f"interval is {self.interval}: it must be 0 (never) or above")
        validation.one_of(("hidden", "all"), sparse_layers=self.sparse_layers)
        validation.at_least(0, dormant_decay=self.dormant_decay)

    def stage(self, update: int, updates: int) -> Hashable | None:
        return "reselect" if self.interval and update % self.interval == 0 else None

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        parts = {
            part: {name: self._sparsified(network) for name, network in group.items()}
            for part, group in networks.items()
        }
        if self.straight_through:
            return parts, {}
        dormant = {
            name: {str(i): network.layers[i].to_dense() for i in self.positions(network)}
            for group in networks.values()
            for name, network in group.items()
        }
        return parts, dormant

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Chooses the active weights anew; figures: `sad_NETWORK`, `kept_NETWORK`."""
        successors, dormant, found = {}, {}, {}
        for part in learner.network_parts:
            networks, successors[part] = learner.networks(part), {}
            for name, network in networks.items():
                new, values = self._reselected(network, state.get(name, {}))
                successors[part][name] = new
                if not self.straight_through:
                    dormant[name] = values
            found |= figures(networks, successors[part])
        return transport.carry(learner, successors), dormant, found

    @property
    def after_step(self) -> AfterStep | None:
        if not (self.straight_through and self.dormant_decay):
            return None

        def decayed(layer: Layout, rate: float) -> Layout:
            shrunk = layer.weight * (1.0 - rate * (1.0 - layer.active()))
            return eqx.tree_at(lambda la: la.weight, layer, shrunk)

        def decay_dormant(
            part: str, networks: Networks, running: MethodState, learning_rate: float
        ) -> Networks:
            rate = learning_rate * self.dormant_decay
            return {
                name: replace_layers(
                    network, {i: decayed(network.layers[i], rate) for i in self.positions(network)}
                )
                for name, network in networks.items()
            }

        return decay_dormant

    def positions(self, network: Network) -> list[int]:
        """Which layers of a network are sparse."""
        every = range(len(network.layers))
        if self.sparse_layers == "all":
            return list(every)
        small_first = network.layers[0].in_features < SMALL_INPUT * self.m
        return list(every[small_first : len(every) - network.has_head])

    def notes(self, networks: dict[str, Networks]) -> list[str]:
        found = []
        for group in networks.values():
            for name, network in group.items():
                positions = self.positions(network)
                if not positions:
                    found.append(
                        f"{name} has no layer to make sparse: small first layers and heads stay "
                        "dense. sparse_layers 'all' changes that."
                    )
                found += [
                    f"{name}.{layer_names(network)[i]} has {network.layers[i].in_features} inputs, "
                    f"fewer than M = {self.m}: each row is one short group that keeps "
                    f"{self.pattern.kept_per_row(network.layers[i].in_features)}."
                    for i in positions
                    if network.layers[i].in_features < self.m
                ]
        return found

    def _sparsified(self, network: Network) -> Network:
        def first(layer: Layout) -> Layout:
            dense = layer.to_dense()
            sparse = self._select(dense, layer.bias)
            return scaled_to_norm(dense, sparse) if self.keep_norm else sparse

        new = {i: first(network.layers[i]) for i in self.positions(network)}
        return replace_layers(network, new)

    def _reselected(
        self, network: Network, dormant: dict[str, Float[Array, "_ _"]]
    ) -> tuple[Network, dict[str, jax.Array]]:
        """The network with its active weights chosen anew, and all values, dormant ones too."""
        new, values = {}, {}
        for i in self.positions(network):
            layer = network.layers[i]
            values[str(i)] = layer.spread(layer.weight, dormant.get(str(i), 0.0))
            new[i] = self._select(values[str(i)], layer.bias)
        return replace_layers(network, new), values

    def _select(self, dense: jax.Array, bias: jax.Array) -> RowSparse | StraightThrough:
        layout = StraightThrough if self.straight_through else RowSparse
        return layout.of(dense, bias, self.pattern, self.pattern.select(jnp.abs(dense)))
