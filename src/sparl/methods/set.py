"""SET, sparse evolutionary training, as in DS-TD3 and DS-SAC (2106.04217, 2022).

The paper and its authors' code say: first layers Erdos-Renyi, P(connection) = lambda_l (n_in +
n_out) / (n_in n_out) with lambda = 7, 64 for two hidden layers, heads dense. Every 1000 updates
drop 5 % of the weights, the smallest positive and the largest negative ones, and grow as many at
random among the empty places. After 92.5 % of training one last drop without growth.

Our reading, where paper and code leave room or we chose otherwise:
- A target sparsity is the usual way to say how many weights there are; `lambdas` is the paper's.
  Connections are drawn without replacement, so that their number is exact, not expected.
- Grown weights start at 0, with zero Adam moments. Weights that are dropped leave no moment
  behind (in the authors' code they do).
- Places dropped a moment ago are grown again only when no other is empty.
- A target network takes its online network's topology at once; kept weights keep their Polyak
  value. The authors let it lag behind and cut it back to the same count: the weights that differ
  are those dropped, the smallest.
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
from sparl.methods.common.unstructured import Unstructured, layer_of
from sparl.networks import Network
from sparl.topology import ROUNDING, Kept, grown, largest, survivors

REGROW, LAST_DROP = "regrow", "last drop"


@dataclass(frozen=True)
class SET(Unstructured):
    """Drop the smallest weights, grow others at random (DS-TD3, DS-SAC)."""

    name: ClassVar[str] = "set"

    interval: int = 1000
    """Updates between two changes of the topology; 0 for never."""
    drop_fraction: float = 0.05
    """Share of each layer's kept weights that is dropped, and grown elsewhere."""
    drop: Literal["signs", "magnitude"] = "signs"
    """signs: of the positive weights and of the negative ones that share each. magnitude: of
    all, the smallest."""
    until: float = 0.925
    """Share of the run's updates after which the topology stays."""
    last_drop: bool = False
    """Drop once more at that moment, without growing (the paper does): fewer weights are left
    than `sparsity` says."""
    lambdas: tuple[float, ...] = ()
    """The paper's way to say how many weights: lambda_l (inputs + outputs) of them in layer l, and
    layers beyond the last lambda dense. Then sparsity and allocation are not used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interval < 0:
            raise BadValue(f"interval is {self.interval}: it must be 0 (never) or above")
        validation.fractions(drop_fraction=self.drop_fraction, until=self.until)
        validation.one_of(("signs", "magnitude"), drop=self.drop)
        if any(not value > 0 for value in self.lambdas):
            raise BadValue(f"lambdas are {self.lambdas}: each must be above 0")

    def counts(self, role: Role, name: str, network: Network) -> list[int]:
        if not self.lambdas:
            return super().counts(role, name, network)
        shapes = [layer.shape for layer in network.layers]
        if len(self.lambdas) > len(shapes):
            raise BadValue(f"{len(self.lambdas)} lambdas for the {len(shapes)} layers of {name}")
        counts = [out * inputs for out, inputs in shapes]
        for i, value in enumerate(self.lambdas):
            counts[i] = min(counts[i], max(1, round(value * sum(shapes[i]))))
        return counts

    def stage(self, update: int, updates: int) -> Hashable | None:
        if not self.interval or update % self.interval:
            return None
        if update <= self.until * updates:
            return REGROW
        first_beyond = update - self.interval <= self.until * updates
        return LAST_DROP if self.last_drop and first_beyond else None

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Drops and grows; figures: `sad_NETWORK`, `kept_NETWORK`."""
        key, grow_key = jax.random.split(jax.random.wrap_key_data(state["key"]))
        successors, found = {}, {}
        scores = self.grow_scores(learner, signals, grow_key)
        for part in scores:
            networks = learner.networks(part)
            successors[part] = {
                name: self._regrown(network, scores[part][name], signals)
                for name, network in networks.items()
            }
            found |= figures(networks, successors[part])
        return transport.carry(learner, successors), {"key": jax.random.key_data(key)}, found

    def fraction(self, progress: jax.Array) -> jax.Array:
        """Share of a layer's weights to drop now."""
        return jnp.asarray(self.drop_fraction)

    def grow_scores(
        self, learner: Learner, signals: Signals, key: jax.Array
    ) -> dict[str, dict[str, list[jax.Array]]]:
        """Scores of the weights of every layer, [out, in]: the largest empty places are grown."""
        parts = {part: learner.networks(part) for part in learner.network_parts}
        layers = [la for group in parts.values() for n in group.values() for la in n.layers]
        keys = iter(jax.random.split(key, len(layers)))
        return {
            part: {
                name: [_random_elsewhere(layer, next(keys)) for layer in network.layers]
                for name, network in group.items()
            }
            for part, group in parts.items()
        }

    def _regrown(self, network: Network, scores: list[jax.Array], signals: Signals) -> Network:
        new: dict[int, Layout] = {}
        for i, layer in enumerate(network.layers):
            if isinstance(layer, Dense):
                continue
            weight, count = layer.to_dense(), layer.kept
            fraction = self.fraction(signals.progress)
            mask = survivors(weight, layer.active() > 0, fraction, self.drop == "signs")
            if signals.stage == LAST_DROP:
                # By signs, two roundings may leave a weight more than one rounding of the whole.
                count -= math.floor(self.drop_fraction * count + ROUNDING)
                mask = largest(jnp.where(mask, jnp.abs(weight), -1.0), count)
            else:
                mask = grown(mask, scores[i], count)
            new[i] = layer_of(weight, layer.bias, Kept.of(mask, count))
        return replace_layers(network, new)


def _random_elsewhere(layer: Layout, key: jax.Array) -> jax.Array:
    """Random scores for empty places; places that are full now come last."""
    return jnp.where(layer.active() > 0, -1.0, jax.random.uniform(key, layer.shape))
