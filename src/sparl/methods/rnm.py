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
  first layer with 17 inputs would keep 3 of them, and return falls to a quarter. "auto" goes by
  what a neuron keeps, in every layer but the head. `first_pattern` and `head_pattern` say it by
  layer.
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
    sparse_layers: Literal["hidden", "all", "auto"] = "hidden"
    """hidden: heads stay dense, and so do first layers with fewer than 8 M inputs. all: every layer
    is sparse. auto: a layer is sparse if each of its neurons keeps `least_inputs` inputs or more;
    heads stay dense."""
    least_inputs: int = 8
    """With sparse_layers auto: the fewest inputs that a neuron of a sparse layer may keep."""
    actor_pattern: str | None = None
    """Pattern of an actor, if another: N:M or N:MxV. none: all of the actor is dense, whatever
    other options say."""
    first_pattern: str | None = None
    """Pattern of the first layer of every network, if another, or none for a dense one. It goes
    before pattern, actor_pattern N:M and sparse_layers."""
    head_pattern: str | None = None
    """Pattern of the head of every network, in the same way as first_pattern."""
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
        for name in ("actor_pattern", "first_pattern", "head_pattern"):
            self._own_pattern(name)  # raises BadValue for one that is not possible
        validation.at_least(1, least_inputs=self.least_inputs)
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
        parts = {
            part: {name: self._sparsify(n, roles[part]) for name, n in group.items()}
            for part, group in networks.items()
        }
        if self.straight_through:
            return parts, {}
        dormant = {
            name: {str(i): n.layers[i].to_dense() for i in self.patterns(n, roles[part])}
            for part, group in networks.items()
            for name, n in group.items()
            if self.pattern_of(roles[part]) is not None
        }
        return parts, dormant

    def pattern_of(self, role: Role) -> NofM | None:
        """The pattern of a role's networks, where a layer has none of its own; None: all dense."""
        if role != "actor" or self.actor_pattern is None:
            return self.n_of_m
        return self._own_pattern("actor_pattern")

    def patterns(self, network: Network, role: Role) -> dict[int, NofM]:
        """The pattern of each sparse layer of a network, by position; other layers are dense."""
        usual = self.pattern_of(role)
        if usual is None:
            return {}
        head = len(network.layers) - 1 if network.has_head else None
        own = {0: "first_pattern"} | ({} if head is None else {head: "head_pattern"})
        found = {}
        for i, layer in enumerate(network.layers):
            if i in own and getattr(self, own[i]) is not None:
                pattern = self._own_pattern(own[i])
            else:
                sparse = self._is_sparse(layer.in_features, i == 0, i == head, usual)
                pattern = usual if sparse else None
            if pattern is not None:
                found[i] = pattern
        return found

    def _is_sparse(self, inputs: int, first: bool, head: bool, pattern: NofM) -> bool:
        """What `sparse_layers` says of a layer."""
        if self.sparse_layers == "all":
            return True
        if head:
            return False
        if self.sparse_layers == "auto":
            return pattern.kept_per_row(inputs) >= self.least_inputs
        return not first or inputs >= SMALL_INPUT * pattern.m

    def _own_pattern(self, option: str) -> NofM | None:
        """The pattern that an option names; None where it is not given or "none"."""
        text = getattr(self, option)
        if text in (None, "none"):
            return None
        try:
            return NofM.parse(text)
        except BadValue as error:
            raise BadValue(f"{option}: {error}, or none for dense layers") from error

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Chooses the active weights again. Figures: `sad_NETWORK`, `kept_NETWORK`."""
        successors, dormant, logged = {}, {}, {}
        for part in learner.network_parts:
            role = learner.roles[part]
            if self.pattern_of(role) is None:
                continue
            networks, successors[part] = learner.networks(part), {}
            for name, network in networks.items():
                new, values = self._reselect(network, role, state.get(name, {}))
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
            if not isinstance(layer, StraightThrough):
                return layer
            weight = layer.weight * (1.0 - rate * (1.0 - layer.active()))
            return eqx.tree_at(lambda la: la.weight, layer, weight)

        def decay_dormant(
            part: str, networks: Networks, running: MethodState, learning_rate: float
        ) -> Networks:
            rate = learning_rate * self.dormant_decay
            return {
                name: network.with_layers([decay(layer, rate) for layer in network.layers])
                for name, network in networks.items()
            }

        return decay_dormant

    def notes(
        self, networks: dict[str, Networks], roles: Mapping[str, Role], updates: int | None
    ) -> list[str]:
        texts = []
        for part, group in networks.items():
            if self.pattern_of(roles[part]) is None:  # dense, as it was asked for
                continue
            for name, network in group.items():
                patterns = self.patterns(network, roles[part])
                if not patterns:
                    why = "small first layers"
                    if self.sparse_layers == "auto":
                        why = (
                            f"layers whose neurons would keep fewer than {self.least_inputs} inputs"
                        )
                    texts.append(
                        f"{name} has no layer to make sparse: {why} and heads stay dense. "
                        "sparse_layers 'all' changes that."
                    )
                names, layers = layer_names(network), network.layers
                texts += [
                    f"{name}.{names[i]} has {layers[i].in_features} inputs, fewer than M = "
                    f"{pattern.m}: each row is one short group that keeps "
                    f"{pattern.kept_per_row(layers[i].in_features)}."
                    for i, pattern in patterns.items()
                    if layers[i].in_features < pattern.m
                ]
        return texts

    def _sparsify(self, network: Network, role: Role) -> Network:
        def sparse_layer(layer: Layout, pattern: NofM) -> Layout:
            dense = layer.to_dense()
            sparse = self._select(dense, layer.bias, pattern)
            return scaled_to_norm(dense, sparse) if self.keep_norm else sparse

        patterns = self.patterns(network, role)
        return replace_layers(
            network, {i: sparse_layer(network.layers[i], p) for i, p in patterns.items()}
        )

    def _reselect(
        self, network: Network, role: Role, dormant: dict[str, Float[Array, "_ _"]]
    ) -> tuple[Network, dict[str, jax.Array]]:
        """The network with newly chosen active weights, and all its values, dormant ones too."""
        new, values = {}, {}
        for i, pattern in self.patterns(network, role).items():
            layer = network.layers[i]
            values[str(i)] = layer.spread(layer.weight, dormant.get(str(i), 0.0))
            new[i] = self._select(values[str(i)], layer.bias, pattern)
        return replace_layers(network, new), values

    def _select(
        self, dense: jax.Array, bias: jax.Array, pattern: NofM
    ) -> RowSparse | StraightThrough:
        layout = StraightThrough if self.straight_through else RowSparse
        return layout.of(dense, bias, pattern, pattern.select(jnp.abs(dense)))
