"""GST: group-sparse training, block-circulant weights with reward-aware pruning (2101.09650, 2021).

The paper says:
- On an edge device the traffic of weights limits training. Iterative pruning compresses little at
  the start.
- GST uses block-circulant compression selectively, so that the compression ratio is high in every
  iteration.
- Reward-aware pruning adapts the target sparsity, so that training is stable.
- Against iterative pruning, the average compression is 25 to 41.5 percentage points higher without
  loss of reward (TD3, HalfCheetah-v2 and Humanoid-v2).

Our reading:
- Large layers are grouped from the start: of every G x G weights, G are stored and trained. Layers
  with fewer inputs or outputs than `smallest` stay dense and are not pruned.
- Every `interval` updates the recent return is checked. If it is near the best, the target sparsity
  goes up by `increment`, up to `sparsity`. If it is not, the target stays. After `patience` bad
  checks in a row, the target goes down by `increment`.
- The target is a share of each network's weights; all its large layers are pruned by the same
  share. The blocks of the smallest norm are removed. When the target goes down, blocks come back at
  zero: those of the largest gradient.
- With `ungroup`, a layer is stored entry by entry once pruning alone stores less than grouping
  alone, 1 - s < 1/G. It keeps the same places, and from then on entries are removed instead of
  blocks. When the target goes back below that, the layer is grouped again.
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
from sparl.methods.common.gated import Gated
from sparl.methods.common.method import (
    MethodState,
    Signals,
    TrainingProgress,
    figures,
    replace_layers,
    scaled_to_norm,
)
from sparl.methods.common.unstructured import layer_of
from sparl.networks import Network, Networks
from sparl.topology import ROUNDING, Kept, allocation, grow, largest


class TargetPlan(NamedTuple):
    """What a check of the return decides."""

    level: int
    """The level of the target from now on."""
    holds: bool
    """Whether the recent return is near the best."""


@dataclass(frozen=True)
class GST(Gated):
    """Large layers are block-circulant; blocks are pruned while the return holds (2101.09650)."""

    name: ClassVar[str] = "gst"
    finishes: ClassVar[bool] = True
    shapes_by_seed: ClassVar[bool] = True

    group: int = 4
    """G, the size of blocks: 2, 4, 8 or 16. 1: no grouping, pruning alone."""
    sparsity: float = 0.6
    """Highest target: the share of each network's weights that is pruned, not counting what
    grouping saves."""
    increment: float = 0.1
    """How far the target goes up or down at once; each restructuring compiles."""
    interval: int = 30_000
    """Updates between two checks of the return."""
    patience: int = 3
    """Checks in a row at which the return falls short before the target goes down."""
    smallest: int = 64
    """Layers with fewer inputs or outputs than this stay dense."""
    ungroup: bool = False
    """Store a layer entry by entry where pruning alone stores less than grouping alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group not in (1, *GROUPS):
            sizes = ", ".join(map(str, GROUPS))
            raise BadValue(f"group is {self.group}: choose of {sizes}, or 1 for no grouping")
        if not 0 <= self.sparsity < 1:
            raise BadValue(f"sparsity is {self.sparsity}: it must be at least 0 and below 1")
        if not 0 < self.increment <= 1:
            raise BadValue(f"increment is {self.increment}: it must be above 0 and at most 1")
        validation.at_least(
            1, interval=self.interval, patience=self.patience, smallest=self.smallest
        )

    @property
    def levels(self) -> int:
        """The number of increments from no pruning to the highest target."""
        return math.ceil(self.sparsity / self.increment - 1e-6)

    def target(self, level: int) -> float:
        """The target sparsity after that many increments."""
        return min(level * self.increment, self.sparsity)

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Groups large layers and scales them to the norms that they had.

        The state has the `level` of the target, and `fell_short`: the number of checks in a row at
        which the return fell short.

        Raises:
            BadValue: The large layers alone cannot reach the sparsity.
        """
        for group in networks.values():
            for name, network in group.items():
                self.share(self.sparsity, name, network)
        parts = {
            part: {name: self._group(network) for name, network in group.items()}
            for part, group in networks.items()
        }
        state = {"level": jnp.zeros((), jnp.int32), "fell_short": jnp.zeros((), jnp.int32)}
        return parts, state

    def large(self, network: Network) -> list[int]:
        """The positions of the layers that are grouped and pruned."""
        return [i for i, la in enumerate(network.layers) if min(la.shape) >= self.smallest]

    def share(self, target: float, name: str, network: Network) -> float:
        """The share of the weights in large layers that is kept at a target sparsity.

        Args:
            target: The share of all the network's weights that is pruned.
            name: The name of the network, for the message.

        Raises:
            BadValue: The large layers have too few weights for this target.
        """
        large = sum(math.prod(network.layers[i].shape) for i in self.large(network))
        total = sum(math.prod(layer.shape) for layer in network.layers)
        kept = allocation.budget(total, target) - (total - large)
        if large and kept <= 0:
            raise BadValue(
                f"sparsity is {target}: {name} has {total - large:,} of {total:,} weights in "
                "layers that are not pruned, because they have fewer inputs or outputs than "
                f"smallest, {self.smallest}. "
                f"Choose a sparsity below {large / total:.2f}, or a smaller `smallest`"
            )
        return kept / large if large else 1.0

    def notes(
        self, networks: dict[str, Networks], roles: Mapping[str, Role], updates: int | None
    ) -> list[str]:
        return [
            f"{name} has no layer with {self.smallest} inputs and outputs: it stays dense. "
            "Lower smallest, or make it wider."
            for group in networks.values()
            for name, network in group.items()
            if not self.large(network)
        ]

    def stage(self, update: int, updates: int) -> Hashable | None:
        """The stage "look" after every `interval` updates but the run's last, else None."""
        return None if update % self.interval or update >= updates else "look"

    def plan(
        self, stage: Hashable, learner: Learner, state: MethodState, progress: TrainingProgress
    ) -> TargetPlan:
        """Decides on the next level of the target by the recent return."""
        level, holds = int(state["level"]), bool(self.holds(progress.returns))
        goes_down = not holds and int(state["fell_short"]) + 1 >= self.patience
        return TargetPlan(min(max(level + holds - goes_down, 0), self.levels), holds)

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Prunes large layers to the target of the planned level.

        Figures: the `target` sparsity and its `level`; `gate`, 1 while the return holds;
        `fell_short`, the number of checks in a row at which it did not; `grouped`, the number of
        large layers that are stored in blocks; `sad_NETWORK`; `kept_NETWORK`.
        """
        assert isinstance(signals.stage, TargetPlan)
        level, holds = signals.stage
        gradients = cache(signals.gradients)
        successors, logged, grouped = {}, {}, 0
        for part in learner.network_parts:
            networks = learner.networks(part)
            successors[part] = {
                name: self._prune_to(self.target(level), part, name, network, gradients)
                for name, network in networks.items()
            }
            logged |= figures(networks, successors[part])
            layers = [la for n in successors[part].values() for la in n.layers]
            grouped += sum(isinstance(layer, BlockCirculant) for layer in layers)
        # When the target goes down, the count starts again at 0.
        fell_short = (state["fell_short"] + 1) % self.patience * (not holds)
        state = {"level": jnp.asarray(level, jnp.int32), "fell_short": fell_short}
        logged |= {
            "target": jnp.asarray(self.target(level)),
            **state,
            "gate": jnp.asarray(float(holds)),
            "grouped": jnp.asarray(grouped),
        }
        return transport.carry(learner, successors), state, logged

    def _group(self, network: Network) -> Network:
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

    def _prune_to(
        self,
        target: float,
        part: str,
        name: str,
        network: Network,
        gradients: Callable[[], dict[str, Networks]],
    ) -> Network:
        """The network with the share `target` of its weights pruned."""
        share = self.share(target, name, network)
        by_entry = self.group == 1 or (self.ungroup and share < 1 / self.group)
        new: dict[int, Layout] = {}
        for i in self.large(network):
            layer, group = network.layers[i], 1 if by_entry else self.group
            # A layer keeps at least one block or entry.
            count = max(1, math.floor(share * math.prod(grid(layer.shape, group)) + ROUNDING))
            current = _cell_count(layer, group)
            if count == current:
                continue
            kept = cell_norms(layer.active(), group) > 0
            kept &= largest(jnp.where(kept, cell_norms(layer.to_dense(), group), -1.0), count)
            if current is None or count > current:
                gradient = gradients()[part][name].layers[i].to_dense()
                kept = grow(kept, cell_norms(gradient, group), count)
            new[i] = _with_cells(layer, Kept.of(kept, count), group)
        return replace_layers(network, new)


def cell_norms(matrix: Float[Array, "out in"], group: int) -> Float[Array, "rows columns"]:
    """The norms of the cells of a matrix, which decide what is pruned.

    A cell is a circulant block of `group` x `group` entries, with the norm of its projection c. If
    `group` is 1 it is one entry, with its magnitude.
    """
    if group == 1:
        return jnp.abs(matrix)
    return jnp.linalg.norm(projected(matrix, group), axis=-1)


def _cell_count(layer: Layout, group: int) -> int | None:
    """The number of cells that a layer keeps; None if it is stored in cells of another size."""
    if isinstance(layer, BlockCirculant):
        return layer.blocks if layer.group == group else None
    return layer.kept if group == 1 else None


def _with_cells(layer: Layout, kept: Kept, group: int) -> Layout:
    """The layer with the cells `kept` alone; cells that come back are zeros."""
    if group == 1:
        return layer_of(layer.to_dense(), layer.bias, kept)
    return BlockCirculant.of(layer.to_dense(), layer.bias, group, kept)
