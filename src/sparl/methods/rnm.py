"""RNM: row-wise N:M sparsity throughout training (RNM-TD3, 2602.14578, 2026).

The paper says:
- All six networks of TD3 are projected onto row-wise N:M sparsity, and the masks of that projection
  are enforced throughout training.
- Gradients update active weights alone. Targets follow by Polyak averaging.
- Masks need not be updated often. A stable Sparse Architecture Divergence (SAD, the mask bits that
  flip between two updates) goes with better return.

Our reading, where the paper leaves room:
- A group is M consecutive inputs of one output neuron. Its N largest |w| are active.
- If dormant weights were zero, no mask could ever change. So they keep their last value, in this
  method's state. A restructuring compares active and dormant values. A weight that wakes up starts
  at its dormant value with zero Adam moments, and its target takes the online value.
- Small first layers and heads stay dense unless `sparse_layers` is "all". At 1:8 a neuron of a
  first layer with 17 inputs would keep 3 of them, and return falls to a quarter.
- The weights kept at the start are scaled up so that each layer keeps its Frobenius norm.
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
from sparl.topology import NofM

SMALL_INPUT = 8
"""A first layer with fewer than this many times M inputs counts as small."""


@dataclass(frozen=True)
class RNM(RowWise):
    """Row-wise N:M sparsity in every network: online, target, actor and critics (2602.14578)."""

    name: ClassVar[str] = "rnm"
    prunes: ClassVar[bool] = True

    interval: int = 1000
    """Updates between two choices of the active weights; 0 keeps those of the start."""
    sparse_layers: Literal["hidden", "all"] = "hidden"
    """hidden: heads stay dense, and so do first layers with fewer than 8 M inputs. all: every layer
    is sparse."""
    actor_pattern: str | None = None
    """Pattern of an actor, if another: N:M, or none for a dense one."""
    keep_norm: bool = True
    """Scale the kept weights at the start so that each layer keeps its Frobenius norm."""
    straight_through: bool = False
    """Train dormant weights too, by straight-through gradients (SR-STE, 2102.04010). Training then
    costs and stores as much as that of a dense agent."""
    dormant_decay: float = 2e-4
    """With straight_through: decay of dormant weights after each step of Adam, times the learning
    rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interval < 0:
            raise BadValue(f"interval is {self.interval}: it must be 0 (never) or above")
        validation.one_of(("hidden", "all"), sparse_layers=self.sparse_layers)
        self.pattern_of("actor")  # raises BadValue for one that is not possible
        validation.at_least(0, dormant_decay=self.dormant_decay)

    def stage(self, update: int, updates: int) -> Hashable | None:
        """The stage "reselect" after every `interval` updates, else None."""
        return "reselect" if self.interval and update % self.interval == 0 else None

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Keeps the largest weights of every group.

        The state holds all values of the sparse layers, by network and position. With
        `straight_through` it is empty.
        """
        patterns = {part: self.pattern_of(roles[part]) for part in networks}
        parts = {
            part: {name: self._sparsify(network, patterns[part]) for name, network in group.items()}
            for part, group in networks.items()
        }
        if self.straight_through:
            return parts, {}
        dormant = {
            name: {str(i): network.layers[i].to_dense() for i in self.positions(network)}
            for part, group in networks.items()
            for name, network in group.items()
            if patterns[part] is not None
        }
        return parts, dormant

    def pattern_of(self, role: Role) -> NofM | None:
        """The pattern of the networks of a role; None if they stay dense."""
        if role != "actor" or self.actor_pattern is None:
            return self.pattern
        return None if self.actor_pattern == "none" else NofM.parse(self.actor_pattern)

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Chooses the active weights again. Figures: `sad_NETWORK`, `kept_NETWORK`."""
        successors, dormant, logged = {}, {}, {}
        for part in learner.network_parts:
            pattern = self.pattern_of(learner.roles[part])
            if pattern is None:
                continue
            networks, successors[part] = learner.networks(part), {}
            for name, network in networks.items():
                new, values = self._reselect(network, pattern, state.get(name, {}))
                successors[part][name] = new
                if not self.straight_through:
                    dormant[name] = values
            logged |= figures(networks, successors[part])
        return transport.carry(learner, successors), dormant, logged

    @property
    def after_step(self) -> AfterStep | None:
        """With `straight_through`, decays dormant weights (the regulariser of SR-STE)."""
        if not (self.straight_through and self.dormant_decay):
            return None

        def decay(layer: Layout, rate: float) -> Layout:
            weight = layer.weight * (1.0 - rate * (1.0 - layer.active()))
            return eqx.tree_at(lambda la: la.weight, layer, weight)

        def decay_dormant(
            part: str, networks: Networks, running: MethodState, learning_rate: float
        ) -> Networks:
            rate = learning_rate * self.dormant_decay
            return {
                name: replace_layers(
                    network, {i: decay(network.layers[i], rate) for i in self.positions(network)}
                )
                for name, network in networks.items()
            }

        return decay_dormant

    def positions(self, network: Network) -> list[int]:
        """The positions of the sparse layers of a network."""
        positions = range(len(network.layers))
        if self.sparse_layers == "all":
            return list(positions)
        small_first = network.layers[0].in_features < SMALL_INPUT * self.m
        return list(positions[small_first : len(positions) - network.has_head])

    def notes(self, networks: dict[str, Networks]) -> list[str]:
        texts = []
        for group in networks.values():
            for name, network in group.items():
                positions = self.positions(network)
                if not positions:
                    texts.append(
                        f"{name} has no layer to make sparse: small first layers and heads stay "
                        "dense. sparse_layers 'all' changes that."
                    )
                texts += [
                    f"{name}.{layer_names(network)[i]} has {network.layers[i].in_features} inputs, "
                    f"fewer than M = {self.m}: each row is one short group that keeps "
                    f"{self.pattern.kept_per_row(network.layers[i].in_features)}."
                    for i in positions
                    if network.layers[i].in_features < self.m
                ]
        return texts

    def _sparsify(self, network: Network, pattern: NofM | None) -> Network:
        if pattern is None:
            return network

        def sparse_layer(layer: Layout) -> Layout:
            dense = layer.to_dense()
            sparse = self._select(dense, layer.bias, pattern)
            return scaled_to_norm(dense, sparse) if self.keep_norm else sparse

        new = {i: sparse_layer(network.layers[i]) for i in self.positions(network)}
        return replace_layers(network, new)

    def _reselect(
        self, network: Network, pattern: NofM, dormant: dict[str, Float[Array, "_ _"]]
    ) -> tuple[Network, dict[str, jax.Array]]:
        """The network with newly chosen active weights, and all its values, dormant ones too."""
        new, values = {}, {}
        for i in self.positions(network):
            layer = network.layers[i]
            values[str(i)] = layer.spread(layer.weight, dormant.get(str(i), 0.0))
            new[i] = self._select(values[str(i)], layer.bias, pattern)
        return replace_layers(network, new), values

    def _select(
        self, dense: jax.Array, bias: jax.Array, pattern: NofM
    ) -> RowSparse | StraightThrough:
        layout = StraightThrough if self.straight_through else RowSparse
        return layout.of(dense, bias, pattern, pattern.select(jnp.abs(dense)))
