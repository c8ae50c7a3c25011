"""A method outside of the package, as a user writes one: random pruning, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from sparl.learner import Role, transport
from sparl.methods import Method, figures, layer_of, replace_layers
from sparl.networks import Networks
from sparl.topology import PerLayer


@dataclass(frozen=True)
class ToyMethod(Method):
    """Start dense; in the middle of the run a random share of each hidden layer's weights goes."""

    name: ClassVar[str] = "toy"
    internal: ClassVar[frozenset[str]] = frozenset({"hidden_from_users"})

    toy_share: float = 0.5
    """Share of the weights that the toy drops."""
    hidden_from_users: int = 7
    """No option of the command line."""

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> Any:
        return networks, {"key": jax.random.key_data(key)}

    def stage(self, update: int, updates: int) -> Any:
        return "prune" if update == updates // 2 else None

    def restructure(self, learner: Any, state: Any, signals: Any) -> Any:
        key = jax.random.wrap_key_data(state["key"])
        successors, found = {}, {}
        for part in learner.network_parts:
            networks = learner.networks(part)
            successors[part] = {}
            for name, network in networks.items():
                key, own = jax.random.split(key)
                successors[part][name] = self.pruned(network, own)
            found |= figures(networks, successors[part])
        state = {"key": jax.random.key_data(key)}
        return transport.carry(learner, successors), state, found

    def pruned(self, network: Any, key: jax.Array) -> Any:
        new = {}
        for i in range(1, len(network.layers) - network.has_head):
            layer = network.layers[i]
            dense = layer.to_dense()
            scores = jax.random.uniform(jax.random.fold_in(key, i), dense.shape)
            kept = PerLayer(round((1 - self.toy_share) * dense.size)).select(scores)
            new[i] = layer_of(dense, layer.bias, kept)
        return replace_layers(network, new)
