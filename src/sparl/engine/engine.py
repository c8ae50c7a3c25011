"""A run's learner and its compiled functions: what the loop calls, and what a checkpoint holds.

The state of an update is donated to it. Only the parts that it changes go in and come out as new
arrays; the actor of an update that leaves it alone can be used to act while that update is still
running, and what is held of another one (`Acting.hold`), too.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.agents import Agent
from sparl.agents.common import learner_parts
from sparl.engine import malloc
from sparl.engine.acting import Acting, ActingNetworks
from sparl.engine.compiled import functions, start_function
from sparl.engine.restructure import densified
from sparl.engine.sizes import Sizes
from sparl.engine.update import Algorithm, Due, Journal, Moving, UpdateInputs
from sparl.learner import Learner, holds_networks
from sparl.learner.random import key_of
from sparl.learner.transport import carry
from sparl.methods import RUNNING, Method, Returns, TrainingProgress
from sparl.networks import Network, Networks, accounting, serialization
from sparl.replay import Columns


@dataclass(frozen=True)
class Template:
    """Arrays of the shapes that a checkpoint must have, and the learner that they are for."""

    arrays: dict[str, Any]
    learner: Learner
    method_state: Any


class Engine(Sizes, Acting):
    """A learner with its method, journal, and compiled forward pass, update and restructuring."""

    def __init__(
        self,
        agent: Agent,
        method: Method,
        columns: Columns,
        seed: int,
        normalize_observations: bool = False,
        planned_updates: int | None = None,
        clip_observations: float | None = None,
    ) -> None:
        """
        Args:
            seed: Of the networks, the method and the updates.
            planned_updates: The agent's in the whole run, over which learning rates are annealed.
            clip_observations: How far from 0 normalised observations may be.
        """
        malloc.keep_freed()
        agent = agent.for_actions("discrete" if columns.discrete else "continuous")
        self.agent, self.method, self.columns = agent, method, columns
        self.planned_updates = planned_updates
        init_key, method_key, update_key = jax.random.split(key_of(seed), 3)
        self.algorithm = Algorithm(agent, method, columns)
        dense = learner_parts.dense_parts(agent, init_key, columns)
        optimizers = {part: learner_parts.optimizer(agent, part) for part in dense}
        networks = {name: part for name, part in dense.items() if holds_networks(part)}
        self.originals = serialization.shapes(networks)
        self.original_policy = accounting.shapes_of(learner_parts.policy(agent, networks))
        self.roles = learner_parts.roles(agent)
        networks = self._started(networks, method_key)
        self.learner = Learner.start(dense | networks, optimizers, agent.target_parts, self.roles)
        self.journal = Journal.start(jax.random.key_data(update_key), len(self.algorithm.metrics))
        size = columns.observation_size if normalize_observations else None
        gamma = agent.gamma if agent.scales_rewards else None
        Acting.__init__(self, size, gamma, clip_observations)
        self.updates = 0
        self.td_errors: jax.Array | None = None
        """Of the newest updates, absolute; None if their rows had no importance weights."""
        self.compile_seconds = 0.0
        self._newest = np.zeros((agent.rows_per_update, columns.width), np.float32)
        self._compile()

    @property
    def arrays(self) -> dict[str, Any]:
        """All that a checkpoint must hold of the learner, as one pytree."""
        return self._arrays_of(self.learner, self.method_state)

    @property
    def layouts(self) -> dict[str, Any]:
        """How every layer is stored, as JSON: with it `template` knows the arrays' shapes."""
        outlines = self.outlines
        return {
            part: serialization.describe_networks(outline) for part, outline in outlines.items()
        }

    def template(self, layouts: dict[str, Any]) -> Template:
        """What `arrays` is like with layers stored as in `layouts`; changes nothing.

        Raises:
            BadFile: Layouts that cannot have come of this agent's networks.
        """
        serialization.refuse_misfit(layouts, self.originals)
        learner, state = self.learner, self.method_state
        if layouts != self.layouts:
            blank = {
                part: serialization.blank_networks(layouts.get(part, {}), outline)
                for part, outline in self.outlines.items()
            }
            learner = learner.afresh(blank)
            _, shapes = jax.eval_shape(
                lambda networks, key: self.method.start(networks, key, self.roles),
                blank,
                jax.random.key(0),
            )
            state = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        return Template(self._arrays_of(learner, state), learner, state)

    def restore(self, arrays: dict[str, Any], template: Template | None = None) -> None:
        """Takes back what `arrays` gave, in the layouts of the template, if that has others."""
        if template is not None and template.learner is not self.learner:
            self.learner = template.learner
            self._compile()
        self.learner = self.learner.with_parts(arrays["parts"])
        self.journal, self.method_state = arrays["journal"], arrays["method"]
        self.restore_statistics(arrays)
        self.updates = int(self.journal.updates)

    def meet(self, rows: NDArray[np.float32]) -> None:
        """Counts logged transitions, [n, width] in their order, into all statistics there are."""
        self.observe(rows[:, : self.columns.observation_size])
        self.reward(rows[:, self.columns.reward], rows[:, -1] > 0)

    def begin_with(self, learner: Learner) -> None:
        """Starts the method on networks that were trained before, in place of the agent's own.

        Moments and targets come along, and what is no network (SAC's temperature).
        """
        learner = densified(learner)
        networks = {part: learner.networks(part) for part in learner.network_parts}
        key = jax.random.fold_in(jax.random.wrap_key_data(self.journal.key), 0)
        started = self._started(networks, key)
        self.learner = replace(carry(learner, started), optimizers=self.learner.optimizers)
        self._compile()

    def go_on_from(self, other: Engine) -> None:
        """Takes over what the same agent has learned elsewhere, its layouts included, and the
        statistics that normalise observations and rewards; of the same method its state, too."""
        self.learner = replace(other.learner, optimizers=self.learner.optimizers)
        if self.method == other.method:
            self.method_state = other.method_state
        self.normalize_as(other)
        self._compile()

    def normalize_as(self, other: Engine) -> None:
        """Takes over the statistics by which another engine normalises observations and rewards."""
        self.statistics, self.discounted_returns = other.statistics, other.discounted_returns

    def policy(self) -> Network:
        """What is saved of the agent when training is over."""
        parts = {part: self.learner.networks(part) for part in self.learner.network_parts}
        if self.agent.averages_policy:
            part = self.agent.acting[0]
            parts[part] = self.learner.targets(part)
        return learner_parts.policy(self.agent, parts)

    def update(self, rows: NDArray[np.float32]) -> None:
        """Makes updates; returns while they may still be running.

        Args:
            rows: Of the replay, [batch, width] of one update or [updates, batch, width] of several,
                which are one compiled call.
        """
        due = self.due(rows)
        parts, words = self.learner.parts, frozenset().union(*due)
        moving = Moving(
            {name: parts[name] for name in words if name in parts},
            self.journal,
            self.method_state.get(RUNNING, {}),
        )
        self._keep_held(moving.parts)
        still = {name: part for name, part in parts.items() if name not in words}
        with self._compiling((due, rows.ndim)):
            inputs = UpdateInputs(still, rows, self.scales, self._planned)
            moved, self.td_errors = self._compiled.update(moving, inputs, due=due)
        self.journal = moved.journal
        if moved.hooks:
            self.method_state = {**self.method_state, RUNNING: moved.hooks}
        self.learner = self.learner.with_parts(moved.parts)
        self._count(rows)

    def due(self, rows: NDArray[np.float32]) -> tuple[Due, ...]:
        """What each of the next updates changes, if these are their rows."""
        count = 1 if rows.ndim == 2 else len(rows)
        return tuple(self.algorithm.due(self.updates + i) for i in range(count))

    def evaluate(self, rows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What an on-policy agent's networks say of newest rows: see `OnPolicyAgent.evaluate`."""
        hooks = self.method_state.get(RUNNING, {})
        evaluate = self._compiled.evaluate
        return jax.tree.map(np.asarray, evaluate(self.learner.parts, hooks, rows, self.scales))

    def restructure(self, stage: Hashable, progress: TrainingProgress) -> dict[str, Any] | None:
        """The method's restructuring.

        What the method wants to know of gradients comes from the batch of the newest update.

        Returns:
            Its figures for the log, numbers and vectors; None where the method, having seen more
            than the schedule, leaves everything as it is.
        """
        planned = self.method.plan(stage, self.learner, self.method_state, progress)
        if planned is None:
            return None
        self.release()
        with self._compiling(("restructure", planned)):
            parts, self.method_state, figures = self._compiled.restructure(
                self.learner.parts,
                self.method_state,
                np.float32(progress.progress),
                Returns(*map(jnp.float32, progress.returns)),
                self._newest,
                self.scales,
                self.journal,
                stage=planned,
            )
        before, after = self.learner.structures, self._compiled.successors[planned]
        self.learner = replace(self.learner, parts=parts, structures=after)
        if after != before:
            self._compile()
        return {
            name: np.asarray(value) if value.ndim else np.asarray(value).item()
            for name, value in figures.items()
        }

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

    @property
    def _planned(self) -> np.float32 | None:
        """See `UpdateInputs`."""
        if self.agent.anneal is None or self.planned_updates is None:
            return None
        return np.float32(self.planned_updates)

    def _count(self, rows: NDArray[np.float32]) -> None:
        """Counts the updates that these rows were for."""
        self.updates += 1 if rows.ndim == 2 else len(rows)
        self._newest = rows if rows.ndim == 2 else rows[-1]

    def _arrays_of(self, learner: Learner, method_state: Any) -> dict[str, Any]:
        arrays = {"parts": learner.parts, "journal": self.journal, "method": method_state}
        return arrays | self.statistics_arrays

    def _started(self, networks: dict[str, Networks], key: jax.Array) -> dict[str, Networks]:
        """Networks in the method's first layouts; sets its state and its notes."""
        self.notes = self.method.notes(networks, self.roles, self.planned_updates)
        networks, self.method_state = start_function(self.method, self.roles)(networks, key)
        constraint = self.agent.constraint
        if constraint is None:
            return networks
        return {part: constraint(part, of_part) for part, of_part in networks.items()}

    @contextmanager
    def _compiling(self, what: Hashable) -> Iterator[None]:
        """Adds the time to `compile_seconds` where this is the first call of compiled functions."""
        if what in self._compiled.called:
            yield
            return
        self._compiled.called.add(what)
        started = time.perf_counter()
        yield
        self.compile_seconds += time.perf_counter() - started

    def _compile(self) -> None:
        """Takes the functions of the learner as it is stored; another topology needs others."""
        self._compiled = functions(self.algorithm, self.learner)
        self._acting = ActingNetworks(self.algorithm, self.learner)
