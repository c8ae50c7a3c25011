"""A run's learner and its compiled functions: what the loop calls, and what a checkpoint holds.

The state of an update is donated to it. Only the parts that it moves go in and come out as new
arrays; the actor of an update that leaves it alone can be used to act while that update is still
running.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl import agents
from sparl.agents.common import ofenet
from sparl.engine import malloc
from sparl.engine.inference import Forward
from sparl.engine.update import Algorithm, Journal, densified, restructure_function, update_function
from sparl.learner import Learner, Structure, holds_networks, transport
from sparl.methods import RUNNING, Method, Moment, Returns
from sparl.networks import (
    Footprint,
    Network,
    Networks,
    Normalization,
    RunningStatistics,
    Shapes,
    accounting,
    serialization,
)
from sparl.replay import Columns


class Engine:
    """A learner with its method, journal, and compiled forward pass, update and restructuring."""

    def __init__(
        self,
        config: Any,
        method: Method,
        columns: Columns,
        seed: int,
        normalize_observations: bool = False,
    ) -> None:
        malloc.keep_freed()
        self.config, self.method, self.columns = config, method, columns
        self.agent = agents.functions_of(config)
        init_key, method_key, update_key = jax.random.split(jax.random.key(seed), 3)
        self.algorithm = Algorithm(self.agent, config, method, columns)
        sizes = columns.observation_size, columns.action_size
        dense = ofenet.dense_parts(config, self.agent, init_key, *sizes)
        optimizers = self.agent.optimizers(config)
        if config.ofenet:
            optimizers |= {ofenet.PART: ofenet.optimizer()}
        networks = {name: part for name, part in dense.items() if holds_networks(part)}
        self.originals = serialization.shapes(networks)
        """Shapes of the dense networks that the agent made, by name."""
        self.original_policy = accounting.shapes_of(ofenet.policy(self.agent, networks))
        self.notes = method.notes(networks)
        networks, self.method_state = jax.jit(method.start)(networks, method_key)
        self.learner = Learner.start(dense | networks, optimizers, self.agent.WITH_TARGET)
        metrics = len(self.algorithm.metrics)
        self.journal = Journal(
            jax.random.key_data(update_key),
            jnp.zeros((), jnp.int32),
            jnp.zeros(metrics),
            jnp.zeros(metrics),
            jnp.zeros((), jnp.int32),
        )
        self.statistics = (
            RunningStatistics.start(columns.observation_size) if normalize_observations else None
        )
        """Those that observations are normalised by; None where they are not."""
        self.updates = 0
        self.td_errors: jax.Array | None = None
        """Of the newest update, absolute, [batch]; None if its rows had no importance weights."""
        self.compile_seconds = 0.0
        self._newest = np.zeros((config.rows_per_update, columns.width), np.float32)
        self._compile()

    @property
    def arrays(self) -> dict[str, Any]:
        """All that a checkpoint must hold of the learner, as one pytree."""
        found = {
            "parts": self.learner.parts,
            "journal": self.journal,
            "method": self.method_state,
        }
        return found if self.statistics is None else found | {"observations": self.statistics}

    @property
    def layouts(self) -> dict[str, Any]:
        """How every layer is stored, as JSON: with it `arrays_in` knows the arrays' shapes."""
        return {part: serialization.described(outline) for part, outline in self._outlines.items()}

    def arrays_in(self, layouts: dict[str, Any]) -> dict[str, Any]:
        """Takes those layouts up; answers with `arrays` of their shapes, to be restored.

        Raises `BadCheckpoint` for layouts that cannot have come of this agent's networks.
        """
        serialization.refuse_misfit(layouts, self.originals)
        if layouts != self.layouts:
            found = {
                part: serialization.blanks(layouts[part], outline)
                for part, outline in self._outlines.items()
            }
            self.learner = self.learner.afresh(found)
            _, state = jax.eval_shape(self.method.start, found, jax.random.key(0))
            self.method_state = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), state)
            self._compile()
        return self.arrays

    def restore(self, arrays: dict[str, Any]) -> None:
        """Takes back what `arrays` gave."""
        self.learner = self.learner.with_parts(arrays["parts"])
        self.journal, self.method_state = arrays["journal"], arrays["method"]
        self.statistics = arrays.get("observations")
        self.updates = int(self.journal.updates)

    def begin_with(self, learner: Learner) -> None:
        """Starts the method on networks that were trained before, in place of the agent's own.

        Moments and targets come along, and what is no network (SAC's temperature).
        """
        learner = densified(learner)
        networks = {part: learner.networks(part) for part in learner.network_parts}
        key = jax.random.fold_in(jax.random.wrap_key_data(self.journal.key), 0)
        self.notes = self.method.notes(networks)
        networks, self.method_state = jax.jit(self.method.start)(networks, key)
        self.learner = transport.carry(learner, networks)
        self._compile()

    def observe(self, observation: NDArray[np.float32]) -> None:
        """Counts an observation of training, [obs], into the statistics, if there are any."""
        if self.statistics is not None:
            self.statistics = self.statistics.including(observation)

    @property
    def normalization(self) -> Normalization | None:
        """What networks see observations through at this moment."""
        return None if self.statistics is None else self.statistics.normalization

    def act(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """The best actions: [batch, obs] to [batch, act] in [-1, 1], or to choices [batch]."""
        return self.agent.act(self._forward, self._seen(observation))

    def explore(
        self, observation: NDArray[np.float32], step: int, rng: np.random.Generator
    ) -> NDArray[np.float32] | int:
        """An action to learn from, for one observation [obs]."""
        size = self.columns.action_size
        seen = self._seen(observation)
        return self.agent.explore(self.config, self._forward, seen, size, step, rng)

    def policy(self) -> Network:
        """What is saved of the agent when training is over."""
        parts = {part: self.learner.networks(part) for part in self.learner.network_parts}
        return ofenet.policy(self.agent, parts)

    def update(self, rows: NDArray[np.float32]) -> None:
        """One update from a batch of the replay; returns while it may still be running."""
        parts = self.learner.parts
        moves = self.algorithm.moving(self.updates)
        moving = {name: parts[name] for name in moves if name in parts}
        still = {name: part for name, part in parts.items() if name not in moves}
        running = self.method_state.get(RUNNING, {})
        with self._compiling(moves):
            moved, self.journal, running, self.td_errors = self._update(
                moving, self.journal, running, still, rows, self.normalization, moves
            )
        if running:
            self.method_state = {**self.method_state, RUNNING: running}
        self.learner = self.learner.with_parts(moved)
        self.updates += 1
        self._newest = rows

    def restructure(self, stage: Hashable, moment: Moment) -> dict[str, Any] | None:
        """The method's restructuring; answers with its figures for the log: numbers and vectors.

        None where the method, having seen more than the schedule, leaves everything as it is. What
        it wants to know of gradients comes from the batch of the newest update.
        """
        planned = self.method.plan(stage, self.learner, self.method_state, moment)
        if planned is None:
            return None
        with self._compiling(("restructure", planned)):
            parts, self.method_state, figures = self._restructure(
                self.learner.parts,
                self.method_state,
                np.float32(moment.progress),
                Returns(*map(jnp.float32, moment.returns)),
                self._newest,
                self.normalization,
                self.journal,
                stage=planned,
            )
        before, after = self.learner.structures, self._successors[planned]
        self.learner = replace(self.learner, parts=parts, structures=after)
        if after != before:
            self._compile()
        return {
            name: np.asarray(value) if value.ndim else np.asarray(value).item()
            for name, value in figures.items()
        }

    @property
    def acting(self) -> tuple[tuple[str, str], ...]:
        """The networks that act, one behind the other: (part, name) of each."""
        return ofenet.acting(self.config, self.agent)

    @property
    def _outlines(self) -> dict[str, Networks]:
        """The networks by part, with shapes in place of arrays."""
        structures = self.learner.structures
        return {part: structures[part].outline() for part in self.learner.network_parts}

    @property
    def shapes(self) -> dict[str, Shapes]:
        """(out, in) of every layer, by network."""
        return serialization.shapes(self._outlines)

    @property
    def sparsity(self) -> float:
        """Share of the weights of all networks, targets included, that are left out or gone."""
        return accounting.sparsity(self.learner.outline(), self.originals)

    @property
    def footprint(self) -> Footprint:
        """What the networks, targets included, hold and move in an update."""
        return accounting.footprint(self.learner.outline(), self.originals)

    def report(self, average_compression_ratio: float | None = None) -> dict[str, Any]:
        """What the networks hold: see `accounting.report`."""
        networks = self.learner.all_networks()
        return accounting.report(networks, self.originals, average_compression_ratio)

    def take_metrics(self) -> dict[str, float]:
        """Mean of each metric since the last call, nan where there was none; waits."""
        sums, counts = np.asarray(self.journal.sums), np.asarray(self.journal.counts)
        self.journal = self.journal._replace(
            sums=jnp.zeros_like(self.journal.sums), counts=jnp.zeros_like(self.journal.counts)
        )
        means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        return dict(zip(self.algorithm.metrics, means.tolist(), strict=True))

    def first_nonfinite(self) -> int:
        """The number (from 1) of the first update whose loss was not finite, or 0; waits."""
        return int(self.journal.first_nonfinite)

    @contextmanager
    def _compiling(self, what: Hashable) -> Iterator[None]:
        """Adds the time to `compile_seconds` where this is the first call since `_compile`."""
        if what in self._compiled:
            yield
            return
        self._compiled.add(what)
        started = time.perf_counter()
        yield
        self.compile_seconds += time.perf_counter() - started

    def _compile(self) -> None:
        self._compiled: set[Hashable] = set()
        self._acting = [
            (part, Forward(self.learner.structures[part], name)) for part, name in self.acting
        ]
        update = update_function(self.algorithm, self.learner)
        self._update = jax.jit(update, donate_argnums=(0, 1, 2), static_argnames="moves")
        self._successors: dict[Hashable, dict[str, Structure]] = {}
        restructure = restructure_function(self.algorithm, self.learner, self._successors)
        self._restructure = jax.jit(restructure, static_argnames="stage")

    def _seen(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Observations as the networks see them."""
        normalize = self.normalization
        return observation if normalize is None else normalize(observation)

    def _forward(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The acting network: [inputs, batch] to [outputs, batch]; waits for its last update."""
        for name, network in self._acting:
            part = self.learner.parts[name]
            x = network.bound(part.values, part.indices)(x)
        return x
