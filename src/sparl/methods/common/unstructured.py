"""The base of unstructured methods: how many weights each layer keeps, and a sparse start.

Each network has a budget: `sparsity` of all its weights are left out, whichever layers stay dense.
An allocation divides the kept weights among the layers, exactly to the last weight; where
neighbouring rows share their inputs, up to half a weight for each row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import jax

from sparl import validation
from sparl.errors import BadValue
from sparl.layouts import Dense, Layout, RowSparse
from sparl.learner import Role
from sparl.methods.common.method import Method, MethodState, replace_layers, scaled_to_norm
from sparl.networks import Network, Networks
from sparl.topology import RULES, Kept, Pattern, PerLayer, PerRow, Rule, allocation


@dataclass(frozen=True)
class Unstructured(Method):
    """The base of methods that may keep any set of weights in a layer."""

    sparsity: float = 0.9
    """Share of each network's weights that is left out."""
    actor_sparsity: float | None = None
    """Sparsity of the actor; `sparsity` if not given. Actors bear more than critics
    (2206.10369)."""
    critic_sparsity: float | None = None
    """Sparsity of the critics; `sparsity` if not given. A DQN's network counts as a critic."""
    allocation: Rule = "er"
    """How the kept weights are divided among layers. er: Erdos-Renyi, small layers are denser. erk:
    with kernel sizes, the same as er for linear layers. uniform: every layer has the same
    sparsity."""
    sparse_layers: Literal["all", "hidden", "auto"] = "all"
    """all: every layer may be sparse. hidden: heads stay dense, within the same budget. (With er
    they often do anyway.) auto: so do layers whose neurons would keep fewer than `least_inputs`
    inputs on average."""
    least_inputs: int = 8
    """With sparse_layers auto: the fewest inputs that a neuron of a sparse layer may keep, on
    average over the layer."""
    keep_norm: bool = False
    """Scale the kept weights of a sparse start so that each layer keeps its Frobenius norm. The
    papers leave the weights as they were drawn."""
    shared_rows: int = 1
    """Neighbouring neurons that keep the same inputs, which makes updates faster. Above 1 all
    neurons of a layer keep equally many, and the number of weights is rounded to that. No paper has
    it: 2305.02299 has equally many inputs, each neuron its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sparsity", "actor_sparsity", "critic_sparsity"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise BadValue(
                    f"{name} is {value}: it must be at least 0 and below 1, "
                    "for example 0.9 to leave out nine weights of ten"
                )
        validation.one_of(RULES, allocation=self.allocation)
        validation.at_least(1, least_inputs=self.least_inputs)
        try:
            PerRow(1, self.shared_rows)
        except BadValue as error:
            raise BadValue(f"shared_rows is {self.shared_rows}: {error}") from error

    def sparsity_of(self, role: Role) -> float:
        """The sparsity of networks with this role."""
        of_role = self.actor_sparsity if role == "actor" else self.critic_sparsity
        return self.sparsity if of_role is None else of_role

    def counts(self, role: Role, name: str, network: Network) -> list[int]:
        """The number of weights that each layer keeps; they add up to the network's budget.

        With `shared_rows` they do up to half a weight for each neuron.

        Raises:
            BadValue: The budget cannot be met. The message names the network.
        """
        shapes = [layer.shape for layer in network.layers]
        kept = allocation.budget(sum(map(math.prod, shapes)), self.sparsity_of(role))
        dense_head = self.sparse_layers != "all" and network.has_head
        dense = {len(shapes) - 1} if dense_head else set()
        least_inputs = self.least_inputs if self.sparse_layers == "auto" else 0
        try:
            counts = allocation.allocate_beside(dense, shapes, kept, self.allocation, least_inputs)
        except BadValue as error:
            raise BadValue(f"{name} at sparsity {self.sparsity_of(role)}: {error}") from error
        return self.in_equal_rows(counts, shapes)

    def pattern_of(self, count: int, shape: tuple[int, ...]) -> PerLayer | PerRow:
        """What keeps so many weights of a layer [out, in], or as many as equal rows can."""
        if self.shared_rows == 1:
            return PerLayer(count)
        return PerRow(max(1, round(count / shape[0])), self.shared_rows)

    def in_equal_rows(self, counts: list[int], shapes: Sequence[tuple[int, int]]) -> list[int]:
        """The numbers of weights that layers of these shapes keep where others were asked for."""
        asked = zip(counts, shapes, strict=True)
        return [self.pattern_of(count, shape).count(*shape) for count, shape in asked]

    def select(self, dense: jax.Array, bias: jax.Array, scores: jax.Array, count: int) -> Layout:
        """A layer with `count` weights of `dense`, [out, in]: those with the largest scores."""
        pattern = self.pattern_of(count, dense.shape)
        return layer_of(dense, bias, pattern.select(scores), pattern)

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Makes every layer sparse with its own number of weights.

        The state has one entry: `key`, a random key.
        """
        key, *keys = jax.random.split(key, 1 + sum(map(len, networks.values())))
        parts = {part: dict(group) for part, group in networks.items()}
        for part, group in networks.items():
            for name, network in group.items():
                parts[part][name] = self._sparsify(roles[part], name, network, keys.pop())
        return parts, {"key": jax.random.key_data(key)}

    def first_scores(self, dense: jax.Array, key: jax.Array) -> jax.Array:
        """Scores of a layer's weights, [out, in]. The weights with the largest scores are kept."""
        return jax.random.uniform(key, dense.shape)

    def _sparsify(self, role: Role, name: str, network: Network, key: jax.Array) -> Network:
        new: dict[int, Layout] = {}
        for i, count in enumerate(self.counts(role, name, network)):
            dense, bias = network.layers[i].to_dense(), network.layers[i].bias
            scores = self.first_scores(dense, jax.random.fold_in(key, i))
            new[i] = self.select(dense, bias, scores, count)
            if self.keep_norm:
                new[i] = scaled_to_norm(dense, new[i])
        return replace_layers(network, new)


def layer_of(
    dense: jax.Array, bias: jax.Array, kept: Kept, pattern: Pattern | None = None
) -> Layout:
    """A layer with the weights at the places `kept`.

    Args:
        dense: All weights, [out, in].
        bias: [out].
        kept: The places of the weights to keep.
        pattern: What selected them, if not just any of the layer.

    Returns:
        A `RowSparse` layer, or a `Dense` one where all weights are kept.
    """
    count = kept.columns.size
    if count == dense.size:
        return Dense(dense, bias)
    return RowSparse.of(dense, bias, pattern or PerLayer(count), kept)
