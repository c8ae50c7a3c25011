"""A restructuring as a pure function, to be compiled, and the dense gradients it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sparl.engine.scales import Scales
from sparl.engine.update import Algorithm, Journal, compute_update
from sparl.layouts import StraightThrough
from sparl.learner import AgentState, Learner, Part, Structure, random
from sparl.learner.transport import carry
from sparl.methods import MethodState, Returns, Signals
from sparl.networks import Network, Networks, dense_copy
from sparl.replay import Batch


class RestructureResult(NamedTuple):
    """What comes out of a compiled restructuring."""

    parts: dict[str, Part]
    method_state: MethodState
    figures: dict[str, jax.Array]
    """For the log, by name."""


def restructure_function(
    algorithm: Algorithm, learner: Learner, successors: dict[Hashable, dict[str, Structure]]
) -> Callable[..., RestructureResult]:
    """The method's restructuring of such a learner, to be compiled.

    While it is compiled for a stage, the structures that come out are put into `successors`.
    """

    def restructure(
        parts: dict[str, Part],
        state: MethodState,
        progress: jax.Array,
        returns: Returns,
        rows: jax.Array,
        scales: Scales,
        journal: Journal,
        stage: Hashable,
    ) -> RestructureResult:
        present = replace(learner, parts=parts)
        batch = scales(algorithm.columns.split(rows))
        signals = Signals(
            stage, progress, returns, lambda: dense_gradients(algorithm, present, batch, journal)
        )
        after, state, figures = algorithm.method.restructure(present, state, signals)
        successors[stage] = after.structures
        return RestructureResult(after.parts, state, figures)

    return restructure


def dense_gradients(
    algorithm: Algorithm, learner: Learner, batch: Batch, journal: Journal
) -> dict[str, Networks]:
    """The losses' gradients by every weight: an update of dense copies in which none descends."""
    dense = densified(learner)
    # Another key than any update's.
    key = random.fold_in(random.fold_in(journal.key, journal.updates), jnp.uint32(2**32 - 1))
    rules = replace(algorithm.rules(dense), collect_gradients=True)
    # All that an agent may ever change, whatever is due.
    everything = frozenset(dense.parts)
    made = algorithm.made(journal)
    state = AgentState(dense.parts, {}, None, {}, rules, everything, made)
    return compute_update(algorithm.agent, state, batch, key)[0].gradients


def densified(learner: Learner) -> Learner:
    """The same functions with every weight stored."""
    # Dormant weights first, so that targets and moments have none either.
    for copy in (without_dormant, dense_copy):
        parts = {part: learner.networks(part) for part in learner.network_parts}
        learner = carry(
            learner,
            {p: {name: copy(network) for name, network in n.items()} for p, n in parts.items()},
        )
    return learner


def without_dormant(network: Network) -> Network:
    """The network with the weights alone that its output depends on."""
    layers = network.layers
    stored = [layer.packed() if isinstance(layer, StraightThrough) else layer for layer in layers]
    return network.with_layers(stored)
