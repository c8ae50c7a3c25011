"""ASP: train, prune once to 2:4, repeat the training (Mishra et al., 2104.08378).

The paper says:
- Train the dense network.
- Prune it once to 2:4, by magnitude along the reduction dimension.
- Repeat the whole training from the pruned weights, with the same hyperparameters, a fresh
  optimizer and a fixed mask.
- Columns may be permuted first, so that more magnitude survives (Pool & Yu, NeurIPS 2021). In a
  chain of layers that costs nothing: the rows of the layer before are permuted in the same way.
- Layers whose sizes the hardware does not support stay dense.

Our reading for reinforcement learning:
- Both trainings lie within one run. The dense one takes the share `prune_at` of its updates.
- The data set of the first training is its replay, so the second training goes on with it.
- The second training starts with targets that are copies of the online networks.
- The hardware supports rows in multiples of 8 and columns in multiples of 16.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from sparl import validation
from sparl.errors import BadValue
from sparl.layouts import Layout, RowSparse
from sparl.learner import Learner, Role
from sparl.methods.common import neurons
from sparl.methods.common.method import (
    MethodState,
    RowWise,
    Signals,
    TrainingProgress,
    figures,
    replace_layers,
)
from sparl.networks import Network, Networks
from sparl.topology import permute_columns

ROWS, COLUMNS = 8, 16
"""The hardware supports layers whose rows and columns are multiples of these."""


@dataclass(frozen=True)
class ASP(RowWise):
    """Train dense, prune once to N:M, and repeat the training with a fixed mask (2104.08378)."""

    name: ClassVar[str] = "asp"
    prunes: ClassVar[bool] = True
    finishes: ClassVar[bool] = True

    prune_at: float = 0.5
    """Share of the run's updates that the dense training takes; the rest repeats the training."""
    permute: bool = True
    """Permute hidden units first, so that more magnitude survives."""
    swaps: int = 20_000
    """Swaps of two units that the search for a permutation tries in each layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.prune_at < 1:
            raise BadValue(f"prune_at is {self.prune_at}: it must lie between 0 and 1")
        validation.at_least(0, swaps=self.swaps)

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Leaves the networks dense. The state has one entry: `key`, for the permutations."""
        return networks, {"key": jax.random.key_data(key)}

    def stage(self, update: int, updates: int) -> Hashable | None:
        """The stage "prune" after the dense training, else None."""
        return "prune" if update == max(1, round(self.prune_at * updates)) else None

    def plan(
        self, stage: Hashable, learner: Learner, state: MethodState, progress: TrainingProgress
    ) -> Hashable | None:
        """None where no layer is left to prune, as in a prolonged run: its training goes on."""
        structures = (learner.structures[part] for part in learner.network_parts)
        networks = (n for structure in structures for n in structure.outline().values())
        return stage if any(self._dense_positions(network) for network in networks) else None

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Prunes all networks and starts the second training.

        Figures: `sad_NETWORK`, `kept_NETWORK`.
        """
        key = jax.random.wrap_key_data(state["key"])
        successors, logged = {}, {}
        for part in learner.network_parts:
            networks = learner.networks(part)
            successors[part] = {}
            for name, network in networks.items():
                key, permutation_key = jax.random.split(key)
                successors[part][name] = self._prune(network, permutation_key)
            logged |= figures(networks, successors[part])
        return learner.afresh(successors), {"key": jax.random.key_data(key)}, logged

    def positions(self, network: Network) -> list[int]:
        """The positions of the layers whose sizes the hardware supports."""
        return [
            i
            for i, layer in enumerate(network.layers)
            if layer.out_features % ROWS == 0 and layer.in_features % COLUMNS == 0
        ]

    def notes(
        self, networks: dict[str, Networks], roles: Mapping[str, Role], updates: int | None
    ) -> list[str]:
        return [
            f"{name} has no layer with a multiple of {ROWS} rows and of {COLUMNS} columns: it "
            "stays dense."
            for group in networks.values()
            for name, network in group.items()
            if not self.positions(network)
        ]

    def _dense_positions(self, network: Network) -> list[int]:
        """The positions of the layers that can be pruned and are not."""
        return [i for i in self.positions(network) if not isinstance(network.layers[i], RowSparse)]

    def _prune(self, network: Network, key: jax.Array) -> Network:
        positions = self._dense_positions(network)
        if self.permute:
            for i in positions:
                if _can_permute(network, i):
                    network = self._permute_inputs(network, i, jax.random.fold_in(key, i))
        new: dict[int, Layout] = {}
        for i in positions:
            weight = network.layers[i].to_dense()
            kept = self.n_of_m.select(jnp.abs(weight))
            new[i] = RowSparse.of(weight, network.layers[i].bias, self.n_of_m, kept)
        return replace_layers(network, new)

    def _permute_inputs(self, network: Network, position: int, key: jax.Array) -> Network:
        """Reorders the inputs of a layer and the outputs of the one before: the same function."""
        before, layer = network.layers[position - 1], network.layers[position]
        order = permute_columns(self.n_of_m, jnp.abs(layer.to_dense()), self.swaps, key)
        reordered = eqx.tree_at(
            lambda pair: (pair[0].weight, pair[0].bias, pair[1].weight),
            (before, layer),
            (before.weight[order], before.bias[order], layer.weight[:, order]),
        )
        network = replace_layers(network, {position - 1: reordered[0], position: reordered[1]})
        norms = (network.norms[position - 1], network.input_norms[position])
        return eqx.tree_at(
            lambda n: (n.norms[position - 1], n.input_norms[position]),
            network,
            jax.tree.map(lambda array: array[order], norms),
            is_leaf=lambda node: node is None,
        )


def _can_permute(network: Network, position: int) -> bool:
    """Whether a layer reads only the layer before it and is the only one that reads it."""
    readers = [i for i, stage in enumerate(network.wiring.stages) if position in stage.reads]
    in_chain = readers == [position] and network.wiring.stages[position].reads == (position,)
    return in_chain and position - 1 in neurons.hidden(network)
