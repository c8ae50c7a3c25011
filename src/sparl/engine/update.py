"""Updates as pure functions, to be compiled.

One call an update, or one for several: networks, optimizer, Polyak averaging, what the method does
around an optimizer step, and the log's sums, over a few flat arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt32

from sparl.agents import Agent
from sparl.agents.common import learner_parts, ofenet
from sparl.engine.scales import Scales
from sparl.learner import AgentState, HookState, Learner, Part, StepRules, random
from sparl.methods import Method
from sparl.replay import Batch, Columns

Due = frozenset[str]
"""What one update changes: see `Agent.due`."""


@dataclass(frozen=True)
class Algorithm:
    """All that decides what an update computes."""

    agent: Agent
    method: Method
    columns: Columns

    @property
    def metrics(self) -> dict[str, str]:
        """What an update tells, with the name of each in TensorBoard."""
        return learner_parts.metrics(self.agent)

    def due(self, update: int) -> Due:
        """What update number `update`, from 0, changes: first the representation alone."""
        before = self.agent.updates_before
        if update < before:
            return frozenset({ofenet.PART})
        due = self.agent.due(update - before)
        return due | {ofenet.PART} if self.agent.ofenet else due

    def made(self, journal: Journal) -> Int32[Array, ""]:
        """The agent's updates so far."""
        return journal.updates - self.agent.updates_before

    def period(self, update: int, count: int) -> int:
        """After how many of `count` updates, from number `update`, what they change recurs."""
        return period(tuple(self.due(update + i) for i in range(count)))

    def rules(self, learner: Learner) -> StepRules:
        """What an optimizer step does to such a learner's parts."""
        agent, method = self.agent, self.method
        return StepRules(
            learner.structures,
            learner.optimizers,
            {part: agent.learning_rate_of(part) for part in learner.structures},
            method.before_step,
            method.after_step,
            agent.max_grad_norm,
            agent.anneal,
            constraint=agent.constraint,
            by_density=agent.learning_rate_by_density,
        )


class Journal(NamedTuple):
    """The random key of updates, their number, and sums for the log."""

    key: UInt32[Array, " 2"]
    updates: Int32[Array, ""]
    sums: Float[Array, " metrics"]
    counts: Float[Array, " metrics"]
    first_nonfinite: Int32[Array, ""]  # number of the first update with a loss not finite, or 0

    @classmethod
    def start(cls, key: UInt32[Array, " 2"], metrics: int) -> Journal:
        """Before the first update."""
        zero = jnp.zeros((), jnp.int32)
        return cls(key, zero, jnp.zeros(metrics), jnp.zeros(metrics), jnp.zeros((), jnp.int32))


class Moving(NamedTuple):
    """What updates change. It is donated to them: they write over its memory."""

    parts: dict[str, Part]
    journal: Journal
    hooks: HookState
    """What the method's hooks remember."""


class UpdateInputs(NamedTuple):
    """What updates read and leave as it is."""

    parts: dict[str, Part]
    """Those that no update changes."""
    rows: Any
    """Of the replay: [batch, width] of one update, [updates, batch, width] of several."""
    scales: Scales
    """What batches are seen through."""
    planned: Float[Array, ""] | np.float32 | None
    """Updates of the agent in the whole run; None where nothing depends on it."""


class UpdateResult(NamedTuple):
    """What comes out of compiled updates."""

    moving: Moving
    td_errors: Float[Array, ...] | None
    """Absolute TD errors, [batch] or [updates, batch], of rows with importance weights, else None;
    with a representation those of the first half of the rows."""


def update_function(
    algorithm: Algorithm, learner: Learner
) -> Callable[[Moving, UpdateInputs, tuple[Due, ...]], UpdateResult]:
    """Updates of such a learner's parts, to be compiled; what each changes is static.

    Several are scanned: what recurs is compiled once.
    """
    rules = algorithm.rules(learner)

    def one(moving: Moving, inputs: UpdateInputs, due: Due) -> UpdateResult:
        journal = moving.journal
        key = random.fold_in(journal.key, journal.updates)
        batch = inputs.scales(algorithm.columns.split(inputs.rows))
        progress = _progress(algorithm, journal, inputs.planned)
        parts = inputs.parts | moving.parts
        made = algorithm.made(journal)
        state = AgentState(parts, moving.hooks, progress, {}, rules, due, made)
        state, metrics = compute_update(algorithm.agent, state, batch, key)
        if inputs.scales.reward is not None:
            metrics = metrics | {"reward_scale": inputs.scales.reward}
        moved = Moving(
            {name: state.parts[name] for name in moving.parts},
            accumulate_metrics(journal, metrics, tuple(algorithm.metrics)),
            state.hooks,
        )
        return UpdateResult(moved, None if batch.weight is None else metrics.get("td_error"))

    def updates(moving: Moving, inputs: UpdateInputs, due: tuple[Due, ...]) -> UpdateResult:
        rows = inputs.rows
        if rows.ndim == 2:
            (only,) = due
            return one(moving, inputs, only)
        recurs = period(due)

        def body(moving: Moving, rows: jax.Array) -> tuple[Moving, Any]:
            errors = []
            for i in range(recurs):
                result = one(moving, inputs._replace(rows=rows[i]), due[i])
                moving = result.moving
                errors.append(result.td_errors)
            return moving, _stacked(errors)

        groups = rows.reshape(-1, recurs, *rows.shape[1:])
        moving, errors = jax.lax.scan(body, moving, groups)
        if errors is not None:
            errors = errors.reshape(-1, *errors.shape[2:])
        return UpdateResult(moving, errors)

    return updates


def _stacked(errors: list[Any]) -> jax.Array | None:
    """TD errors of several updates as one array; None where there are none."""
    return None if any(error is None for error in errors) else jnp.stack(errors)


def compute_update(
    agent: Agent, state: AgentState, batch: Batch, key: jax.Array
) -> tuple[AgentState, dict[str, jax.Array]]:
    """The state one update later, and metrics.

    A representation comes first, by a batch of its own, which is the second half of the rows; the
    agent sees what it makes of observations.
    """
    if agent.ofenet is None:
        return agent.update(state, batch, key)
    size = agent.batch_size
    batch, own = (
        jax.tree.map(lambda a, s=s: a[s], batch) for s in (slice(size), slice(size, None))
    )
    state, metrics = ofenet.update(state, own)
    if state.due == {ofenet.PART}:
        return state, metrics
    state, of_agent = agent.update(state, ofenet.represented(state, batch), key)
    return state, metrics | of_agent


def accumulate_metrics(
    journal: Journal, metrics: dict[str, jax.Array], names: tuple[str, ...]
) -> Journal:
    """The journal with one update's metrics added."""
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


def evaluate_function(algorithm: Algorithm, learner: Learner) -> Callable[..., Any]:
    """`OnPolicyAgent.evaluate` of such a learner, to be compiled: of newest rows [n, width]."""
    rules = algorithm.rules(learner)

    def evaluate(
        parts: dict[str, Part],
        hooks: HookState,
        rows: jax.Array,
        scales: Scales,
    ) -> dict[str, jax.Array]:
        stored = replace(algorithm.columns, extras=())
        batch = scales(stored.split(rows))
        state = AgentState(parts, hooks, None, {}, rules, frozenset())
        agent: Any = algorithm.agent  # an on-policy one; no other has extras to evaluate for
        return agent.evaluate(state, batch)

    return evaluate


def period(due: tuple[Due, ...]) -> int:
    """After how many updates what they change comes again; all of them if it never does."""
    count = len(due)
    fitting = (p for p in range(1, count) if count % p == 0 and due == due[:p] * (count // p))
    return next(fitting, count)


def _progress(algorithm: Algorithm, journal: Journal, planned: Any) -> Float[Array, ""] | None:
    """Share of the agent's updates that are made, in [0, 1]; None where nothing depends on it."""
    if algorithm.agent.anneal is None:
        return None
    if planned is None:
        return jnp.zeros(())
    return jnp.clip(algorithm.made(journal) / planned, 0.0, 1.0)
