"""Gradual magnitude pruning (Zhu & Gupta, 1710.01878; in RL, 2206.10369).

The papers say:
- The sparsity of every layer rises from 0 to its final value as 1 - (1 - x)^3. x goes from 0 to 1
  between 20 % and 80 % of training.
- The weights of smallest magnitude are removed. The final sparsities follow ER-kernel.
- In the study of 2206.10369 this is the best of all methods at equal final sparsity.

Our reading:
- The curve is followed in `prunings` steps, not every 1000 updates: every step packs the networks
  into smaller arrays and compiles for them.
- Pruned weights are gone. From then on they are not multiplied, not trained and not stored.
- Adam's moments and the targets of the other weights stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

import jax
import jax.numpy as jnp

from sparl import validation
from sparl.errors import BadValue
from sparl.layouts import Layout
from sparl.learner import Learner, Role, transport
from sparl.methods.common.method import MethodState, Signals, check_window, figures, replace_layers
from sparl.methods.common.unstructured import Unstructured
from sparl.networks import Network, Networks
from sparl.topology import apportion, budget


@dataclass(frozen=True)
class Magnitude(Unstructured):
    """Start dense; prune the smallest weights in steps along a cubic curve (1710.01878)."""

    name: ClassVar[str] = "magnitude"
    internal: ClassVar[frozenset[str]] = frozenset({"keep_norm"})
    prunes: ClassVar[bool] = True
    finishes: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True

    begin: float = 0.2
    """Share of the run's updates before the first weights are pruned."""
    end: float = 0.8
    """Share of the run's updates after which no more weights are pruned."""
    prunings: int = 16
    """Number of steps in which the sparsity rises; each compiles once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self.begin, self.end)
        validation.at_least(1, prunings=self.prunings)
        if self.keep_norm:
            raise BadValue(f"keep_norm is for a start that is sparse: {self.name} begins dense")

    def share(self, pruning: int, sparsity: float) -> float:
        """The share of the weights to remove for `sparsity` that is gone after a pruning.

        Args:
            pruning: The number of the pruning, from 1.
            sparsity: The final sparsity of the network.
        """
        return 1 - (1 - pruning / self.prunings) ** 3

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Leaves the networks dense. There is no state.

        Raises:
            BadValue: The final budget of a network cannot be met.
        """
        for part, group in networks.items():
            for name, network in group.items():
                self.counts(roles[part], name, network)  # raises now what would fail at the end
        return networks, {}

    def stage(self, update: int, updates: int) -> Hashable | None:
        """The number of the pruning after this update, from 1; None for no pruning."""
        return _schedule(self.begin, self.end, self.prunings, updates).get(update)

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Prunes the smallest weights. Figures: `sad_NETWORK`, `kept_NETWORK`."""
        assert isinstance(signals.stage, int)
        successors, logged = {}, {}
        for part in learner.network_parts:
            networks = learner.networks(part)
            role = learner.roles[part]
            share = self.share(signals.stage, self.sparsity_of(role))
            successors[part] = {
                name: self._prune(role, name, network, share) for name, network in networks.items()
            }
            logged |= figures(networks, successors[part])
        return transport.carry(learner, successors), state, logged

    def _prune(self, role: Role, name: str, network: Network, share: float) -> Network:
        new: dict[int, Layout] = {}
        for i, count in enumerate(self.counts_after(share, role, name, network)):
            layer = network.layers[i]
            if count < layer.kept:
                dense = layer.to_dense()
                scores = jnp.where(layer.active() > 0, jnp.abs(dense), -1.0)
                new[i] = self.select(dense, layer.bias, scores, count)
        return replace_layers(network, new)

    def counts_after(self, share: float, role: Role, name: str, network: Network) -> list[int]:
        """The number of weights that each layer keeps after a pruning.

        Args:
            share: The share of the weights to remove that is gone then.
        """
        sizes = [math.prod(layer.shape) for layer in network.layers]
        final = self.counts(role, name, network)
        # The schedule of a prolonged run may ask for more weights than are left.
        current = [layer.kept for layer in network.layers]
        kept = min(budget(sum(sizes), share * self.sparsity_of(role)), sum(current))
        shares = [
            size - Fraction(share) * (size - count)
            for size, count in zip(sizes, final, strict=True)
        ]
        shapes = [layer.shape for layer in network.layers]
        return self.in_equal_rows(apportion(shares, kept, current), shapes)


@lru_cache  # called after every update
def _schedule(begin: float, end: float, prunings: int, updates: int) -> dict[int, int]:
    """Maps updates (from 1) to numbers of prunings; if several fall together, the last counts."""
    times = (begin + (end - begin) * i / prunings for i in range(1, prunings + 1))
    return {max(1, round(share * updates)): i for i, share in enumerate(times, start=1)}
