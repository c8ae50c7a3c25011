"""Cuts neurons out that a method has switched off."""

from __future__ import annotations

import jax.numpy as jnp

from sparl.learner import Learner, transport
from sparl.methods.common import neurons
from sparl.methods.common.method import RUNNING, MethodState


def cut_out(
    learner: Learner, state: MethodState, widths: dict[str, tuple[int, ...]]
) -> tuple[Learner, MethodState]:
    """The same functions in smaller matrices.

    Args:
        state: Its `alive` tells which neurons are on, by network; importances go along.
        widths: How many are on in each hidden layer, by network.
    """
    kept, importance = {}, {}
    for part in learner.network_parts:
        for name, network in learner.networks(part).items():
            alive = neurons.by_layer(state["alive"][name], network)
            pairs = zip(alive, widths[name], strict=True)
            kept[name] = [jnp.nonzero(layer, size=width)[0] for layer, width in pairs]
            old = neurons.by_layer(state[RUNNING]["importance"][name], network)
            pairs = zip(old, kept[name], strict=True)
            importance[name] = neurons.concatenate([layer[indices] for layer, indices in pairs])
    learner = transport.along(learner, lambda name, n: neurons.keep_neurons(n, kept[name]))
    return learner, {
        **state,
        "alive": {name: jnp.ones(len(values)) for name, values in importance.items()},
        RUNNING: {**state[RUNNING], "importance": importance},
    }
