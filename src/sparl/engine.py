"""The compiled functions of a run, and the arrays they carry from one update to the next.

One call per update: networks, optimizer, Polyak averaging and the log's sums in a single
compiled function over a few flat arrays, its state donated. Only the parts that an update moves
go in and come out as new arrays; the actor of an update that leaves it alone can be used to act
while that update is still running.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int32, UInt32
from numpy.typing import NDArray

from sparl import agents, noise, transport
from sparl.acting import Acting
from sparl.layouts import blank, describe
from sparl.learner import Learner, Part, Structure, holds_networks
from sparl.methods import Method
from sparl.methods.base import MethodState, Signals
from sparl.networks import MLP, Networks, dense_copy
from sparl.replay import Columns


class Journal(NamedTuple):
    """What updates keep for the loop: the random key, their count, and sums for the log."""

    key: UInt32[Array, " 2"]
    updates: Int32[Array, ""]
    sums: Float[Array, " metrics"]
    counts: Float[Array, " metrics"]
    first_nonfinite: Int32[Array, ""]  # number of the first update with a loss not finite, or 0


class Engine:
    """A learner with its method, journal, and compiled forward pass, update and restructuring."""

    def __init__(self, config: Any, method: Method, columns: Columns, seed: int) -> None:
        self.config, self.method, self.columns = config, method, columns
        self.agent = agents.functions_of(config)
        init_key, method_key, update_key = jax.random.split(jax.random.key(seed), 3)
        dense = self.agent.init(config, init_key, columns.observation_size, columns.action_size)
        networks = {name: part for name, part in dense.items() if holds_networks(part)}
        self.notes = method.notes(networks)
        networks, self.method_state = jax.jit(method.start)(networks, method_key)
        self.learner = Learner.start(
            dense | networks, self.agent.optimizers(config), self.agent.WITH_TARGET
        )
        metrics = len(self.agent.METRICS)
        self.journal = Journal(
            jax.random.key_data(update_key),
            jnp.zeros((), jnp.int32),
            jnp.zeros(metrics),
            jnp.zeros(metrics),
            jnp.zeros((), jnp.int32),
        )
        self.updates = 0
        self._newest = np.zeros((config.batch_size, columns.width), np.float32)
        self._compile()

    @property
    def arrays(self) -> dict[str, Any]:
        """All that a checkpoint must hold of the learner, as one pytree."""
        return {
            "parts": self.learner.parts,
            "journal": self.journal,
            "method": self.method_state,
        }

    @property
    def layouts(self) -> dict[str, Any]:
        """How every layer is stored, as JSON: with it `arrays_in` knows the arrays' shapes."""
        return {
            part: {
                name: [describe(layer) for layer in network.layers]
                for name, network in self.learner.networks(part).items()
            }
            for part in self.learner.network_parts
        }

    def arrays_in(self, layouts: dict[str, Any]) -> dict[str, Any]:
        """Takes those layouts up; answers with `arrays` of their shapes, to be restored."""
        if layouts != self.layouts:
            blanks = {
                part: {
                    name: MLP(tuple(map(blank, layouts[part][name])), network.squash)
                    for name, network in self.learner.networks(part).items()
                }
                for part in self.learner.network_parts
            }
            self.learner = self.learner.afresh(blanks)
            self._compile()
        return self.arrays

    def restore(self, arrays: dict[str, Any]) -> None:
        """Takes back what `arrays` gave."""
        self.learner = self.learner.with_parts(arrays["parts"])
        self.journal, self.method_state = arrays["journal"], arrays["method"]
        self.updates = int(self.journal.updates)

    def act(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """The best actions: [batch, obs] to [batch, act] in [-1, 1], or to choices [batch]."""
        return self.agent.act(self._forward, observation)

    def explore(
        self, observation: NDArray[np.float32], step: int, rng: np.random.Generator
    ) -> NDArray[np.float32] | int:
        """An action to learn from, for one observation [obs]."""
        size = self.columns.action_size
        return self.agent.explore(self.config, self._forward, observation, size, step, rng)

    def policy(self) -> MLP:
        """What is saved of the agent when training is over."""
        return self.agent.policy(self.learner.networks(self.agent.ACTING[0]))

    def update(self, rows: NDArray[np.float32]) -> None:
        """One update from a batch of the replay; returns while it may still be running."""
        parts = self.learner.parts
        moves = self.agent.moving(self.config, self.updates)
        moving = {name: parts[name] for name in moves if name in parts}
        still = {name: part for name, part in parts.items() if name not in moves}
        moved, self.journal = self._update(moving, self.journal, still, rows, moves)
        self.learner = self.learner.with_parts(moved)
        self.updates += 1
        self._newest = rows

    def restructure(self, stage: Hashable, progress: float) -> dict[str, int | float]:
        """The method's restructuring; answers with its figures for the log.

        `progress` is the share of the run's updates that are made. What the method wants to know
        of gradients comes from the batch of the newest update.
        """
        parts, self.method_state, figures = self._restructure(
            self.learner.parts,
            self.method_state,
            np.float32(progress),
            self._newest,
            self.journal,
            stage=stage,
        )
        before, after = self.learner.structures, self._successors[stage]
        self.learner = replace(self.learner, parts=parts, structures=after)
        if after != before:
            self._compile()
        return {name: np.asarray(value).item() for name, value in figures.items()}

    def take_metrics(self) -> dict[str, float]:
        """Mean of each metric since the last call, nan where there was none; waits."""
        sums, counts = np.asarray(self.journal.sums), np.asarray(self.journal.counts)
        self.journal = self.journal._replace(
            sums=jnp.zeros_like(self.journal.sums), counts=jnp.zeros_like(self.journal.counts)
        )
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        return dict(zip(self.agent.METRICS, means.tolist(), strict=True))

    def first_nonfinite(self) -> int:
        """The number (from 1) of the first update whose loss was not finite, or 0; waits."""
        return int(self.journal.first_nonfinite)

    def _compile(self) -> None:
        part, name = self.agent.ACTING
        structure = self.learner.structures[part]
        self._acting = Acting.of(structure)
        self._forward_compiled = jax.jit(
            lambda values, indices, observation: (
                structure.networks(values, indices)[name](observation.T).T
            )
        )
        self._update = jax.jit(
            _update_function(self), donate_argnums=(0, 1), static_argnames="moves"
        )
        self._successors: dict[Hashable, dict[str, Structure]] = {}
        self._restructure = jax.jit(_restructure_function(self), static_argnames="stage")

    def _forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The acting network: [inputs, batch] to [outputs, batch]; waits for its last update."""
        part_name, name = self.agent.ACTING
        part = self.learner.parts[part_name]
        if self._acting is None:
            return np.asarray(self._forward_compiled(part.values, part.indices, x.T)).T
        networks = self._acting.networks(np.asarray(part.values), np.asarray(part.indices))
        return networks[name](x)


def _update_function(engine: Engine) -> Callable:
    agent, config, columns = engine.agent, engine.config, engine.columns
    structures, optimizers = engine.learner.structures, engine.learner.optimizers
    after_step = engine.method.after_step

    def descend(name: str, part: Part, gradient: Any) -> Part:
        steps, optimizer = optimizers[name].update(
            structures[name].flatten(gradient), part.optimizer, part.values
        )
        part = part._replace(values=optax.apply_updates(part.values, steps), optimizer=optimizer)
        if after_step is not None and structures[name].holds_networks:
            networks = after_step(structures[name].online(part), config.learning_rate)
            part = part._replace(values=structures[name].flatten(networks))
        return part

    def update(
        moving: dict[str, Part],
        journal: Journal,
        still: dict[str, Part],
        rows: jax.Array,
        moves: frozenset[str],
    ) -> tuple[dict[str, Part], Journal]:
        key = noise.fold_in(journal.key, journal.updates)
        moved, metrics = agent.update(
            config,
            structures,
            still | moving,
            moves,
            columns.split(rows),
            key,
            descend,
        )
        return moved, _noted(journal, metrics, agent.METRICS)

    return update


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


def _restructure_function(engine: Engine) -> Callable:
    learner, method, successors = engine.learner, engine.method, engine._successors

    def restructure(
        parts: dict[str, Part],
        state: MethodState,
        progress: jax.Array,
        rows: jax.Array,
        journal: Journal,
        stage: Hashable,
    ) -> tuple[dict[str, Part], MethodState, dict[str, jax.Array]]:
        present = replace(learner, parts=parts)
        signals = Signals(stage, progress, lambda: _gradients(engine, present, rows, journal))
        after, state, figures = method.restructure(present, state, signals)
        # Known while compiling; the caller learns from it whether anything else must be compiled.
        successors[stage] = after.structures
        return after.parts, state, figures

    return restructure


def _gradients(
    engine: Engine, learner: Learner, rows: jax.Array, journal: Journal
) -> dict[str, Networks]:
    """The losses' gradients by every weight: an update of dense copies, in which none descends."""
    dense = transport.carry(
        learner,
        {
            part: {name: dense_copy(network) for name, network in learner.networks(part).items()}
            for part in learner.network_parts
        },
    )
    found: dict[str, Networks] = {}

    def capture(name: str, part: Part, gradient: Any) -> Part:
        found[name] = gradient
        return part

    # Another key than any update's.
    key = noise.fold_in(noise.fold_in(journal.key, journal.updates), jnp.uint32(2**32 - 1))
    everything = frozenset(learner.parts)
    batch = engine.columns.split(rows)
    engine.agent.update(
        engine.config, dense.structures, dense.parts, everything, batch, key, capture
    )
    return found
