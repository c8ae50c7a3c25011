"""The importance of hidden neurons, and the penalty on their groups of weights that it weighs.

What `DSP` has inside every compiled update. `running` holds, by network, the `importance` of every
neuron, and the `strength` lambda of the penalty

    lambda sum_j c_j sqrt(size of group j) ||theta_j||,   c_j = 1 - I_j / max I of the layer,

with c_j a constant to the gradient.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from sparl.methods.common import neurons
from sparl.methods.common.method import BeforeStep, MethodState
from sparl.networks import Network, Networks

Importance = Literal["taylor", "magnitude"]

MEMORY = 0.99
"""Of the moving average of importance."""


def observing(importance: Importance, in_gradient: bool) -> BeforeStep:
    """A `Method.before_step` that keeps the importance up to date, and adds the penalty's gradient
    to the loss's if it is to be `in_gradient`."""

    def observe(
        part: str, networks: Networks, gradients: Networks, running: MethodState
    ) -> tuple[Networks, MethodState]:
        known = dict(running["importance"])
        for name, network in networks.items():
            if importance == "taylor":
                new = neurons.saliency(network, gradients[name])
                known[name] = MEMORY * known[name] + (1 - MEMORY) * new
            else:
                known[name] = neurons.norms(network)
        running = {**running, "importance": known}
        if in_gradient:
            gradients = {
                name: neurons.pulled(gradients[name], network, _pull(name, network, running))
                for name, network in networks.items()
            }
        return gradients, running

    return observe


def shrunk(part: str, networks: Networks, running: MethodState, learning_rate: float) -> Networks:
    """A `Method.after_step`: the penalty's proximal step, a group soft threshold."""
    return {
        name: neurons.scaled(
            network, jnp.maximum(0.0, 1.0 - learning_rate * _pull(name, network, running))
        )
        for name, network in networks.items()
    }


def _pull(name: str, network: Network, running: MethodState) -> jax.Array:
    """Of each neuron lambda c_j sqrt(size) / ||theta_j||: the penalty's gradient by a group is
    that number times the group."""
    c = 1.0 - neurons.shares(running["importance"][name], network)
    roots = np.repeat(np.sqrt(neurons.sizes(network)), neurons.widths(network))
    norms = jnp.maximum(neurons.norms(network), neurons.TINY)
    return running["strength"] * c * roots.astype(np.float32) / norms
