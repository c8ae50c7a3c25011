"""ASP: train, prune once to 2:4, repeat the training (Mishra et al., 2104.08378).

The paper says: train the dense network; prune it once to 2:4 by magnitude along the reduction
dimension; repeat the whole training from the pruned weights with the same hyperparameters, a fresh
optimizer and the mask fixed. Columns may be permuted first so that more magnitude survives (Pool &
Yu, NeurIPS 2021); in a chain of layers that is free, for the rows of the layer before are permuted
with them. Layers whose sizes the hardware cannot take stay dense.

Our reading for reinforcement learning:
- Both trainings lie within one run, the dense one up to `prune_at` of its updates.
- The data set of the first training is its replay, so the second goes on with it.
- A fresh training starts with targets that are copies of the online networks.
- The hardware's sizes: rows a multiple of 8, columns of 16.
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
from sparl.methods.common.method import MethodState, RowWise, Signals, figures, replace_layers
from sparl.networks import Network, Networks
from sparl.topology import permuted_for

ROWS, COLUMNS = 8, 16


@dataclass(frozen=True)
class ASP(RowWise):
    """Train dense, prune once to N:M, and repeat the training with the mask fixed."""

    name: ClassVar[str] = "asp"
    prunes: ClassVar[bool] = True

    prune_at: float = 0.5
    """Share of the run's updates that is the dense training; the rest repeats it."""
    permute: bool = True
    """Permute hidden units first, so that more magnitude survives."""
    swaps: int = 20_000
    """Exchanges of two units that the search for a permutation tries in each layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.prune_at < 1:
            raise BadValue(f"prune_at is {self.prune_at}: it must lie between 0 and 1")
        validation.at_least(0, swaps=self.swaps)

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Dense as they are; state: a random key for the permutations."""
        return networks, {"key": jax.random.key_data(key)}

    def stage(self, update: int, updates: int) -> Hashable | None:
        return "prune" if update == max(1, round(self.prune_at * updates)) else None

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Prunes, and starts the second training; figures: `sad_NETWORK`, `kept_NETWORK`."""
        key = jax.random.wrap_key_data(state["key"])
        successors, found = {}, {}
        for part in learner.network_parts:
            networks = learner.networks(part)
            successors[part] = {}
            for name, network in networks.items():
                key, own = jax.random.split(key)
                successors[part][name] = self._pruned(network, own)
            found |= figures(networks, successors[part])
        return learner.afresh(successors), {"key": jax.random.key_data(key)}, found

    def positions(self, network: Network) -> list[int]:
        """The layers that the hardware can take."""
        return [
            i
            for i, layer in enumerate(network.layers)
            if layer.out_features % ROWS == 0 and layer.in_features % COLUMNS == 0
        ]

    def notes(self, networks: dict[str, Networks]) -> list[str]:
        return [
            f"{name} has no layer with rows a multiple of {ROWS} and columns of {COLUMNS}: it "
            "stays dense."
            for group in networks.values()
            for name, network in group.items()
            if not self.positions(network)
        ]

    def _pruned(self, network: Network, key: jax.Array) -> Network:
        # A layer that was pruned before (in a run that was prolonged) is left as it is.
        dense = (i for i, layer in enumerate(network.layers) if not isinstance(layer, RowSparse))
        positions = [i for i in dense if i in self.positions(network)]
        if self.permute:
            for i in positions:
                if _alone(network, i):
                    network = self._permuted(network, i, jax.random.fold_in(key, i))
        new: dict[int, Layout] = {}
        for i in positions:
            weight = network.layers[i].to_dense()
            kept = self.pattern.select(jnp.abs(weight))
            new[i] = RowSparse.of(weight, network.layers[i].bias, self.pattern, kept)
        return replace_layers(network, new)

    def _permuted(self, network: Network, position: int, key: jax.Array) -> Network:
        """The same function with the inputs of a layer, outputs of the one before, reordered."""
        before, layer = network.layers[position - 1], network.layers[position]
        order = permuted_for(self.pattern, jnp.abs(layer.to_dense()), self.swaps, key)
        reordered = eqx.tree_at(
            lambda pair: (pair[0].weight, pair[0].bias, pair[1].weight),
            (before, layer),
            (before.weight[order], before.bias[order], layer.weight[:, order]),
        )
        return replace_layers(network, {position - 1: reordered[0], position: reordered[1]})


def _alone(network: Network, position: int) -> bool:
    """Whether a layer reads the one before it and nothing else, and no other layer reads that."""
    readers = [i for i, stage in enumerate(network.wiring.stages) if position in stage.reads]
    alone = readers == [position] and network.wiring.stages[position].reads == (position,)
    return alone and position - 1 in neurons.hidden(network)
