"""SET, sparse evolutionary training, as in DS-TD3 and DS-SAC (2106.04217, 2022).

The paper and its authors' code say:
- The first layers are Erdos-Renyi graphs, P(connection) = lambda_l (n_in + n_out) / (n_in n_out),
  with lambda = 7, 64 for two hidden layers. Heads stay dense.
- Every 1000 updates, drop 5 % of the weights: the smallest positive and the largest negative ones.
  Grow as many at random places among the empty ones.
- After 92.5 % of training there is one last drop without growth.

Our reading, where paper and code leave room or we chose otherwise:
- The number of weights follows from a target sparsity, as in other methods. `lambdas` is the
  paper's way to set it. Connections are drawn without replacement, so that their number is exact
  and not only expected.
- Grown weights start at 0, with zero Adam moments. The moments of dropped weights are dropped, too
  (in the authors' code they stay).
- A place that was just dropped is grown again only when no other place is empty. Its weight keeps
  its value and its moments then.
- A prolonged run has no second last drop: layers that have had it stay as they are.
- A target network takes its online network's topology at once; kept weights keep their Polyak
  value. The authors let the target lag behind and cut it back to the same count. The two differ in
  the dropped weights alone, which are the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from sparl import validation
from sparl.errors import BadValue
from sparl.layouts import Dense, Layout
from sparl.learner import Learner, Role, transport
from sparl.methods.common.method import MethodState, Signals, figures, replace_layers
from sparl.methods.common.unstructured import Unstructured
from sparl.networks import Network
from sparl.topology import ROUNDING, drop_smallest, sum_row_groups

REGROW, LAST_DROP = "regrow", "last drop"
"""The stages of a restructuring."""


@dataclass(frozen=True)
class SET(Unstructured):
    """Drop the smallest weights and grow others at random (DS-TD3, DS-SAC; 2106.04217)."""

    name: ClassVar[str] = "set"

    interval: int = 1000
    """Updates between two changes of the topology; 0 for never."""
    drop_fraction: float = 0.05
    """Share of each layer's kept weights that is dropped and grown elsewhere."""
    drop: Literal["signs", "magnitude"] = "signs"
    """signs: drop that share of the positive weights and of the negative ones, those closest to 0.
    magnitude: drop the smallest of all weights."""
    until: float = 0.925
    """Share of the run's updates after which the topology stays as it is."""
    last_drop: bool = False
    """Drop once more at that moment without growing, as the paper does. Then fewer weights are left
    than `sparsity` says."""
    lambdas: tuple[float, ...] = ()
    """The paper's way to set the number of weights: layer l has lambda_l (inputs + outputs) of
    them, and layers beyond the last lambda are dense. If given, sparsity, allocation and
    sparse_layers are not used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interval < 0:
            raise BadValue(f"interval is {self.interval}: it must be 0 (never) or above")
        validation.fractions(drop_fraction=self.drop_fraction, until=self.until)
        validation.one_of(("signs", "magnitude"), drop=self.drop)
        if self.last_drop and self.drop_fraction == 1:
            raise BadValue("drop_fraction is 1, and last_drop would leave no weight: lower it")
        if self.last_drop and self.until == 1:
            raise BadValue(
                "until is 1, and last_drop comes behind that share of the run: lower until, or "
                "leave last_drop out"
            )
        if any(not value > 0 for value in self.lambdas):
            raise BadValue(f"lambdas are {self.lambdas}: each must be above 0")
        if self.lambdas and self.sparse_layers == "auto":
            raise BadValue(
                f"sparse_layers is auto and lambdas are {self.lambdas}: these say by layer how "
                "many weights there are. Leave one of the two out"
            )

    def counts(self, role: Role, name: str, network: Network) -> list[int]:
        """The number of weights that each layer keeps, by `lambdas` if given.

        Raises:
            BadValue: There are more lambdas than layers, or the budget cannot be met.
        """
        if not self.lambdas:
            return super().counts(role, name, network)
        shapes = [layer.shape for layer in network.layers]
        if len(self.lambdas) > len(shapes):
            raise BadValue(f"{len(self.lambdas)} lambdas for the {len(shapes)} layers of {name}")
        counts = [out * inputs for out, inputs in shapes]
        for i, value in enumerate(self.lambdas):
            counts[i] = min(counts[i], max(1, round(value * sum(shapes[i]))))
        return self.in_equal_rows(counts, shapes)

    def stage(self, update: int, updates: int) -> Hashable | None:
        """REGROW, LAST_DROP or None."""
        if not self.interval:
            return None
        if update <= self.until * updates:
            return None if update % self.interval else REGROW
        first_beyond = update - 1 <= self.until * updates
        return LAST_DROP if self.last_drop and first_beyond else None

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Drops and grows weights. Figures: `sad_NETWORK`, `kept_NETWORK`."""
        key, grow_key = jax.random.split(jax.random.wrap_key_data(state["key"]))
        successors, logged = {}, {}
        scores = self.grow_scores(learner, signals, grow_key)
        for part in scores:
            networks = learner.networks(part)
            successors[part] = {
                name: self._regrow(network, learner.roles[part], name, scores[part][name], signals)
                for name, network in networks.items()
            }
            logged |= figures(networks, successors[part])
        return transport.carry(learner, successors), {"key": jax.random.key_data(key)}, logged

    def fraction(self, progress: jax.Array) -> jax.Array:
        """The share of a layer's weights to drop now.

        Args:
            progress: The share of the run's updates that are made.
        """
        return jnp.asarray(self.drop_fraction)

    def grow_scores(
        self, learner: Learner, signals: Signals, key: jax.Array
    ) -> dict[str, dict[str, list[jax.Array]]]:
        """Scores of the places of every layer; the empty places with the largest scores are grown.

        Returns:
            For each part and each network, one array [out, in] for each layer.
        """
        parts = {part: learner.networks(part) for part in learner.network_parts}
        layers = [la for group in parts.values() for n in group.values() for la in n.layers]
        keys = iter(jax.random.split(key, len(layers)))
        return {
            part: {
                name: [_random_scores(layer, next(keys)) for layer in network.layers]
                for name, network in group.items()
            }
            for part, group in parts.items()
        }

    def _regrow(
        self, network: Network, role: Role, name: str, scores: list[jax.Array], signals: Signals
    ) -> Network:
        new: dict[int, Layout] = {}
        first_counts = self.counts(role, name, network)
        for i, layer in enumerate(network.layers):
            if isinstance(layer, Dense):
                continue
            weight, count = layer.to_dense(), layer.kept
            if signals.stage == LAST_DROP and count < first_counts[i]:
                continue  # a prolonged run that had its last drop
            active = layer.active() > 0
            survive = self._survivors(weight, active, self.fraction(signals.progress))
            if signals.stage == LAST_DROP:
                # By signs, rounding happens twice, and one weight more than here may be left.
                count -= math.floor(self.drop_fraction * count + ROUNDING)
                ranks = jnp.where(survive, jnp.abs(weight), jnp.where(active, -1.0, -2.0))
            else:
                ranks = jnp.where(survive, jnp.inf, scores[i])
            new[i] = self.select(weight, layer.bias, ranks, count)
        return replace_layers(network, new)

    def _survivors(self, weight: jax.Array, active: jax.Array, fraction: jax.Array) -> jax.Array:
        """A mask of the active places, [out, in], that survive a drop.

        What neighbouring rows keep of one input goes together: by the mean of its magnitudes, and
        by signs with the sign of its sum.
        """
        v, by_sign = self.shared_rows, self.drop == "signs"
        if v == 1:
            return drop_smallest(weight, active, fraction, by_sign)
        mean = sum_row_groups(jnp.abs(weight), v) / sum_row_groups(jnp.ones_like(weight), v)
        signed = jnp.copysign(mean, sum_row_groups(weight, v))
        left = drop_smallest(signed, active[::v], fraction, by_sign)
        return jnp.repeat(left, v, axis=0)[: weight.shape[0]]


def _random_scores(layer: Layout, key: jax.Array) -> jax.Array:
    """Random scores of empty places; places in use have lower ones."""
    return jnp.where(layer.active() > 0, -1.0, jax.random.uniform(key, layer.shape))
