"""GST: group-sparse training, block-circulant weights with reward-aware pruning (2101.09650, 2021).

The paper says: on an edge device the traffic of weights limits training. Iterative pruning
compresses little at the start. GST uses block-circulant compression selectively, so that the
compression ratio is high in every iteration, and adapts the target sparsity by reward-aware
pruning, so that training is stable. Against iterative pruning: 25 to 41.5 percentage points more
average compression without loss of reward, TD3, HalfCheetah-v2 and Humanoid-v2.

Our reading:
- Large layers are grouped from the start: of every G x G weights G are stored and trained. Layers
  with fewer inputs or outputs than `smallest` stay dense and whole.
- Every `interval` updates the recent return is looked at. While it holds, the target sparsity goes
  up by `increment` until it is `sparsity`; while it does not, the target stays; after `patience`
  such looks one after the other it goes down by `increment`.
- The target is of each network's weights, its large layers alike. Whole blocks go, those of the
  smallest norm. When the target goes down, blocks come back at zero, those of the largest gradient.
- With `ungroup`, a layer in which pruning alone stores less than grouping alone, 1 - s < 1/G, is
  stored entry by entry from then on, at the same places; entries go instead of blocks. When the
  target goes back below that, the layer is grouped again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import validation
from sparl.errors import BadValue
from sparl.kernels import GROUPS
from sparl.layouts import BlockCirculant, Layout, grid, projected
from sparl.learner import Learner, Role, transport
from sparl.methods.common.method import (
    Method,
    MethodState,
    Signals,
    TrainingProgress,
    figures,
    replace_layers,
    scaled_to_norm,
)
from sparl.methods.common.unstructured import layer_of
from sparl.networks import Network, Networks
from sparl.topology import ROUNDING, Kept, allocation, grown, largest


class Plan(NamedTuple):
    """What a look at the return decides."""

    level: int
    """Of the target from now on."""
    holds: bool
    """Whether the return does."""


@dataclass(frozen=True)
class GST(Method):
    """Large layers block-circulant from the first step; blocks go while the return holds."""

    name: ClassVar[str] = "gst"

    group: int = 4
    """G, the size of blocks: 2, 4, 8 or 16; 1 for no grouping, pruning alone."""
    sparsity: float = 0.6
    """Highest target: the share of each network's weights that is pruned, grouping apart."""
    increment: float = 0.1
    """How far the target goes up, or down, at once; each target compiles once."""
    interval: int = 30_000
    """Updates between two looks at the return."""
    tolerance: float = 0.2
    """How far the recent return may fall short of the best while the target goes up, as a share of
    what lies between the lowest and the best; 1 for no gate."""
    patience: int = 3
    """Looks in a row at which the return fell short, before the target goes down."""
    smallest: int = 64
    """Layers with fewer inputs or outputs than this stay dense."""
    ungroup: bool = False
    """Store a layer entry by entry where pruning alone stores less than grouping alone."""

    def __post_init__(self) -> None:
        if self.group not in (1, *GROUPS):
            sizes = ", ".join(map(str, GROUPS))
            raise BadValue(f"group is {self.group}: choose of {sizes}, or 1 for no grouping")
        if not 0 <= self.sparsity < 1:
            raise BadValue(f"sparsity is {self.sparsity}: it must be at least 0 and below 1")
        if not 0 < self.increment <= 1:
            raise BadValue(f"increment is {self.increment}: it must be above 0 and at most 1")
        validation.fractions(tolerance=self.tolerance)
        validation.at_least(
            1, interval=self.interval, patience=self.patience, smallest=self.smallest
        )

    @property
    def levels(self) -> int:
        """Increments from no pruning to the highest target."""
        return math.ceil(self.sparsity / self.increment - 1e-6)

    def target(self, level: int) -> float:
        return min(level * self.increment, self.sparsity)

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Large layers grouped, scaled to the norms they had. State: the `level` of the target, and
        at how many looks in a row the return `fell_short`.

        Raises `BadValue` for a sparsity that the large layers alone cannot come to.
        """
        for group in networks.values():
            for name, network in group.items():
                self.share(self.sparsity, name, network)
        parts = {
            part: {name: self._grouped(network) for name, network in group.items()}
            for part, group in networks.items()
        }
        state = {"level": jnp.zeros((), jnp.int32), "fell_short": jnp.zeros((), jnp.int32)}
        return parts, state

    def large(self, network: Network) -> list[int]:
        """The positions of the layers that are grouped and pruned."""
        return [i for i, la in enumerate(network.layers) if min(la.shape) >= self.smallest]

    def share(self, target: float, name: str, network: Network) -> float:
        """Of the weights in large layers, the share left when `target` of all are pruned."""
        large = sum(math.prod(network.layers[i].shape) for i in self.large(network))
        total = sum(math.prod(layer.shape) for layer in network.layers)
        left = allocation.budget(total, target) - (total - large)
        if large and left <= 0:
            raise BadValue(
                f"sparsity is {target}: {name} has {total - large:,} of {total:,} weights in "
                "layers that are not pruned, having fewer inputs or outputs than smallest, "
                f"{self.smallest}. "
                f"Choose a sparsity below {large / total:.2f}, or a smaller `smallest`"
            )
        return left / large if large else 1.0

    def notes(self, networks: dict[str, Networks]) -> list[str]:
        return [
            f"{name} has no layer with {self.smallest} inputs and outputs: it stays dense. "
            "Lower smallest, or make it wider."
            for group in networks.values()
            for name, network in group.items()
            if not self.large(network)
        ]

    def stage(self, update: int, updates: int) -> Hashable | None:
        return None if update % self.interval else "look"

    def plan(
        self, stage: Hashable, learner: Learner, state: MethodState, progress: TrainingProgress
    ) -> Plan:
        level, holds = int(state["level"]), bool(progress.returns.hold(self.tolerance))
        given_up = not holds and int(state["fell_short"]) + 1 >= self.patience
        return Plan(min(max(level + holds - given_up, 0), self.levels), holds)

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Large layers at the target of the level that was planned.

        Figures: the `target` sparsity and its `level`, `gate` (1 while the return holds), at how
        many looks in a row it `fell_short`, large layers that are `grouped`, `sad_NETWORK`,
        `kept_NETWORK`.
        """
        assert isinstance(signals.stage, Plan)
        level, holds = signals.stage
        gradients = cache(signals.gradients)
        successors, found, grouped = {}, {}, 0
        for part in learner.network_parts:
            networks = learner.networks(part)
            successors[part] = {
                name: self._at(self.target(level), part, name, network, gradients)
                for name, network in networks.items()
            }
            found |= figures(networks, successors[part])
            layers = [la for n in successors[part].values() for la in n.layers]
            grouped += sum(isinstance(layer, BlockCirculant) for layer in layers)
        # When the target goes down, counting begins anew.
        fell_short = (state["fell_short"] + 1) % self.patience * (not holds)
        state = {"level": jnp.asarray(level, jnp.int32), "fell_short": fell_short}
        found |= {
            "target": jnp.asarray(self.target(level)),
            **state,
            "gate": jnp.asarray(float(holds)),
            "grouped": jnp.asarray(grouped),
        }
        return transport.carry(learner, successors), state, found

    def _grouped(self, network: Network) -> Network:
        if self.group == 1:
            return network
        new: dict[int, Layout] = {}
        for i in self.large(network):
            dense, bias = network.layers[i].to_dense(), network.layers[i].bias
            shape = grid(network.layers[i].shape, self.group)
            everywhere = Kept.of(jnp.ones(shape, bool), math.prod(shape))
            layer = BlockCirculant.of(dense, bias, self.group, everywhere)
            new[i] = scaled_to_norm(dense, layer)
        return replace_layers(network, new)

    def _at(
        self,
        target: float,
        part: str,
        name: str,
        network: Network,
        gradients: Callable[[], dict[str, Networks]],
    ) -> Network:
        """The network with that share of its weights pruned."""
        share = self.share(target, name, network)
        single = self.group == 1 or (self.ungroup and share < 1 / self.group)
        new: dict[int, Layout] = {}
        for i in self.large(network):
            layer, group = network.layers[i], 1 if single else self.group
            # A share of 1 keeps all; and there is no layer of nothing.
            count = max(1, math.floor(share * math.prod(grid(layer.shape, group)) + ROUNDING))
            there = _count(layer, group)
            if count == there:
                continue
            kept = cells(layer.active(), group) > 0
            kept &= largest(jnp.where(kept, cells(layer.to_dense(), group), -1.0), count)
            if there is None or count > there:
                gradient = gradients()[part][name].layers[i].to_dense()
                kept = grown(kept, cells(gradient, group), count)
            new[i] = _layer(layer, Kept.of(kept, count), group)
        return replace_layers(network, new)


def cells(matrix: Float[Array, "out in"], group: int) -> Float[Array, "rows columns"]:
    """What can be pruned, weighed: the norm of each block's c, or the magnitude of each entry."""
    if group == 1:
        return jnp.abs(matrix)
    return jnp.linalg.norm(projected(matrix, group), axis=-1)


def _count(layer: Layout, group: int) -> int | None:
    """How many such cells a layer keeps; None for one that is not stored in them."""
    if isinstance(layer, BlockCirculant):
        return layer.blocks if layer.group == group else None
    return layer.kept if group == 1 else None


def _layer(layer: Layout, kept: Kept, group: int) -> Layout:
    """The layer with the cells `kept` alone; those that come back are zeros."""
    if group == 1:
        return layer_of(layer.to_dense(), layer.bias, kept)
    return BlockCirculant.of(layer.to_dense(), layer.bias, group, kept)
