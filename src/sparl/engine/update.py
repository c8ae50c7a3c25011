"""What is compiled of a run: one update, and one restructuring, as pure functions.

One call per update: networks, optimizer, Polyak averaging, what the method does around an optimizer
step, and the log's sums, over a few flat arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32, UInt32

from sparl.agents import Agent
from sparl.agents.common import ofenet
from sparl.learner import Descend, Learner, Part, Structure, random, transport
from sparl.methods import Method, MethodState, Returns, Signals
from sparl.networks import Networks, Normalization, dense_copy
from sparl.replay import Batch, Columns


class Algorithm(NamedTuple):
    """All that decides what an update computes."""

    agent: Agent
    config: Any
    method: Method
    columns: Columns

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.agent.METRICS + (ofenet.METRICS if self.config.ofenet else ())

    def moving(self, updates: int) -> frozenset[str]:
        """The parts that update number `updates` (from 0) changes."""
        if self.config.ofenet is None:
            return self.agent.moving(self.config, updates)
        before = self.config.updates_before
        agents = self.agent.moving(self.config, updates - before) if updates >= before else set()
        return frozenset({ofenet.PART, *agents})


class Journal(NamedTuple):
    """What updates keep for the loop: the random key, their count, and sums for the log."""

    key: UInt32[Array, " 2"]
    updates: Int32[Array, ""]
    sums: Float[Array, " metrics"]
    counts: Float[Array, " metrics"]
    first_nonfinite: Int32[Array, ""]  # number of the first update with a loss not finite, or 0


def update_function(algorithm: Algorithm, learner: Learner) -> Callable:
    """One update of such a learner's parts: (the parts that it moves, journal, the method's running
    state, the parts that it leaves, rows of the replay, what they are seen through, moves) -> the
    first three, moved on, and the absolute TD errors [batch] of rows with importance weights, else
    None. (With a representation: of the first half of the rows.)"""
    config, method = algorithm.config, algorithm.method
    structures, optimizers = learner.structures, learner.optimizers
    before_step, after_step = method.before_step, method.after_step

    def update(
        moving: dict[str, Part],
        journal: Journal,
        running: MethodState,
        still: dict[str, Part],
        rows: jax.Array,
        normalization: Normalization | None,
        moves: frozenset[str],
    ) -> tuple[dict[str, Part], Journal, MethodState, jax.Array | None]:
        def descend(name: str, part: Part, gradient: Any) -> Part:
            nonlocal running
            structure = structures[name]
            if before_step is not None and structure.holds_networks:
                gradient, running = before_step(name, structure.online(part), gradient, running)
            steps, optimizer = optimizers[name].update(
                structure.flatten(gradient), part.optimizer, part.values
            )
            values = optax.apply_updates(part.values, steps)
            part = part._replace(values=values, optimizer=optimizer)
            if after_step is not None and structure.holds_networks:
                networks = after_step(name, structure.online(part), running, config.rate_of(name))
                part = part._replace(values=structure.flatten(networks))
            return part

        key = random.fold_in(journal.key, journal.updates)
        batch = _seen(algorithm.columns.split(rows), normalization)
        parts = still | moving
        moved, metrics = _learned(algorithm, structures, parts, moves, batch, key, descend)
        errors = None if batch.weight is None else metrics.get("td_error")
        return moved, _noted(journal, metrics, algorithm.metrics), running, errors

    return update


def _learned(
    algorithm: Algorithm,
    structures: dict[str, Structure],
    parts: dict[str, Part],
    moves: frozenset[str],
    batch: Batch,
    key: jax.Array,
    descend: Descend,
) -> tuple[dict[str, Part], dict[str, jax.Array]]:
    """The parts in `moves` one update later, and metrics: the representation's first, if there is
    one, by a batch of its own, and then the agent's, which sees what that makes of observations."""
    agent, config = algorithm.agent, algorithm.config
    if config.ofenet is None:
        return agent.update(config, structures, parts, moves, batch, key, descend)
    name, size = ofenet.PART, config.batch_size
    batch, own = (
        jax.tree.map(lambda a, s=s: a[s], batch) for s in (slice(size), slice(size, None))
    )
    part, metrics = ofenet.update(structures[name], parts[name], own, descend)
    if moves == {name}:
        return {name: part}, metrics
    batch = ofenet.represented(structures[name], part, batch)
    parts = parts | {name: part}
    moved, found = agent.update(config, structures, parts, moves, batch, key, descend)
    return moved | {name: part}, metrics | found


def _seen(batch: Batch, normalization: Normalization | None) -> Batch:
    """A batch as the networks see it."""
    if normalization is None:
        return batch
    return batch._replace(
        observation=normalization(batch.observation),
        next_observation=normalization(batch.next_observation),
    )


def _noted(journal: Journal, metrics: dict[str, jax.Array], names: tuple[str, ...]) -> Journal:
    values = jnp.stack([metrics.get(name, jnp.zeros(())) for name in names])
    updates = journal.updates + 1
    bad = jnp.logical_and(journal.first_nonfinite == 0, ~jnp.all(jnp.isfinite(values)))
    return Journal(
        journal.key,
        updates,
        journal.sums + values,
        journal.counts + jnp.array([float(name in metrics) for name in names]),
        jnp.where(bad, updates, journal.first_nonfinite),
    )


def restructure_function(
    algorithm: Algorithm, learner: Learner, successors: dict[Hashable, dict[str, Structure]]
) -> Callable:
    """The method's restructuring of such a learner: (parts, the method's state, progress, returns,
    rows of the newest batch, what they are seen through, journal, stage) -> parts, state, figures.

    While it is compiled for a stage, the structures that come out are put into `successors`.
    """

    def restructure(
        parts: dict[str, Part],
        state: MethodState,
        progress: jax.Array,
        returns: Returns,
        rows: jax.Array,
        normalization: Normalization | None,
        journal: Journal,
        stage: Hashable,
    ) -> tuple[dict[str, Part], MethodState, dict[str, jax.Array]]:
        present = replace(learner, parts=parts)
        batch = _seen(algorithm.columns.split(rows), normalization)
        signals = Signals(
            stage, progress, returns, lambda: _gradients(algorithm, present, batch, journal)
        )
        after, state, figures = algorithm.method.restructure(present, state, signals)
        successors[stage] = after.structures
        return after.parts, state, figures

    return restructure


def _gradients(
    algorithm: Algorithm, learner: Learner, batch: Batch, journal: Journal
) -> dict[str, Networks]:
    """The losses' gradients by every weight: an update of dense copies, in which none descends."""
    dense = densified(learner)
    found: dict[str, Networks] = {}

    def capture(name: str, part: Part, gradient: Any) -> Part:
        found[name] = gradient
        return part

    # Another key than any update's.
    key = random.fold_in(random.fold_in(journal.key, journal.updates), jnp.uint32(2**32 - 1))
    everything = frozenset(learner.parts)
    _learned(algorithm, dense.structures, dense.parts, everything, batch, key, capture)
    return found


def densified(learner: Learner) -> Learner:
    """The same functions with every weight stored."""
    return transport.carry(
        learner,
        {
            part: {name: dense_copy(network) for name, network in learner.networks(part).items()}
            for part in learner.network_parts
        },
    )
