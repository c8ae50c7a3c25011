"""What unstructured methods share: which layers keep how many weights, and a sparse start.

The budget is a network's: `sparsity` of all its weights are left out, whatever stays dense, and an
allocation shares what is kept among its layers, to the last weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import jax

from sparl import validation
from sparl.errors import BadValue
from sparl.layouts import Dense, Layout, RowSparse
from sparl.learner import Role
from sparl.methods.common.method import Method, MethodState, replace_layers, scaled_to_norm
from sparl.networks import Network, Networks
from sparl.topology import RULES, Kept, PerLayer, Rule, allocation


@dataclass(frozen=True)
class Unstructured(Method):
    """Any weight of a layer may be kept or not; how many, the options say."""

    sparsity: float = 0.9
    """Share of each network's weights that is left out."""
    actor_sparsity: float | None = None
    """The actor's, if it is another. Actors bear more than critics (2206.10369)."""
    critic_sparsity: float | None = None
    """The critics', if it is another; a DQN's network counts as a critic."""
    allocation: Rule = "er"
    """How layers share what is kept. er: Erdos-Renyi, so that small layers are denser. erk: with
    kernel sizes, the same for linear layers. uniform: every layer alike."""
    sparse_layers: Literal["all", "hidden"] = "all"
    """hidden: heads stay dense, within the same budget. (With er they often do anyway.)"""
    keep_norm: bool = False
    """Scale the kept weights of a sparse start so that each layer keeps its Frobenius norm. The
    papers leave them as they were drawn."""

    def __post_init__(self) -> None:
        for name in ("sparsity", "actor_sparsity", "critic_sparsity"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise BadValue(
                    f"{name} is {value}: it must be at least 0 and below 1, "
                    "for example 0.9 to leave out nine weights of ten"
                )
        validation.one_of(RULES, allocation=self.allocation)
        validation.one_of(("all", "hidden"), sparse_layers=self.sparse_layers)

    def sparsity_of(self, role: Role) -> float:
        own = self.actor_sparsity if role == "actor" else self.critic_sparsity
        return self.sparsity if own is None else own

    def counts(self, role: Role, name: str, network: Network) -> list[int]:
        """Weights that each layer of a network keeps; they add up to its budget.

        Raises `BadValue`, naming the network, where the budget cannot be met.
        """
        shapes = [layer.shape for layer in network.layers]
        dense_head = self.sparse_layers == "hidden" and network.has_head
        whole = [math.prod(shapes.pop())] if dense_head else []
        total = sum(map(math.prod, shapes)) + sum(whole)
        kept = allocation.budget(total, self.sparsity_of(role))
        try:
            return [*allocation.allocate(shapes, kept - sum(whole), self.allocation), *whole]
        except BadValue as error:
            raise BadValue(f"{name} at sparsity {self.sparsity_of(role)}: {error}") from error

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Every layer with its own count of weights; state: a random key."""
        key, *keys = jax.random.split(key, 1 + sum(map(len, networks.values())))
        parts = {part: dict(group) for part, group in networks.items()}
        for part, group in networks.items():
            for name, network in group.items():
                parts[part][name] = self._sparsified(roles[part], name, network, keys.pop())
        return parts, {"key": jax.random.key_data(key)}

    def first_scores(self, dense: jax.Array, key: jax.Array) -> jax.Array:
        """Scores of a layer's weights, [out, in]: the largest are kept at the start."""
        return jax.random.uniform(key, dense.shape)

    def _sparsified(self, role: Role, name: str, network: Network, key: jax.Array) -> Network:
        new: dict[int, Layout] = {}
        for i, count in enumerate(self.counts(role, name, network)):
            dense, bias = network.layers[i].to_dense(), network.layers[i].bias
            scores = self.first_scores(dense, jax.random.fold_in(key, i))
            new[i] = layer_of(dense, bias, PerLayer(count).select(scores))
            if self.keep_norm:
                new[i] = scaled_to_norm(dense, new[i])
        return replace_layers(network, new)


def layer_of(dense: jax.Array, bias: jax.Array, kept: Kept) -> Layout:
    """A layer of the weights at the places `kept`; one that keeps all of them is dense."""
    count = kept.columns.size
    if count == dense.size:
        return Dense(dense, bias)
    return RowSparse.of(dense, bias, PerLayer(count), kept)
