"""The importance of hidden neurons, and the group penalty that is weighted by it.

This is the part of `DSP` that runs inside every compiled update. `running` holds, for each network,
the `importance` of every neuron, and the `strength` lambda of the penalty

    lambda sum_j c_j sqrt(size of group j) ||theta_j||,   c_j = 1 - I_j / max I of the layer.

c_j is a constant to the gradient.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from sparl.methods.common import neurons
from sparl.methods.common.importance import relative_importance, saliency
from sparl.methods.common.method import BeforeStep, MethodState
from sparl.networks import Network, Networks

Importance = Literal["taylor", "magnitude"]

MEMORY = 0.99
"""Decay of the moving average of importance."""


def importance_hook(importance: Importance, in_gradient: bool) -> BeforeStep:
    """A `Method.before_step` that keeps the importance of every neuron up to date.

    Args:
        importance: How it is measured: see `DSP.importance`.
        in_gradient: Whether the hook also adds the penalty's gradient to the loss's.
    """

    def before_step(
        part: str, networks: Networks, gradients: Networks, running: MethodState
    ) -> tuple[Networks, MethodState]:
        by_network = dict(running["importance"])
        for name, network in networks.items():
            if importance == "taylor":
                new = saliency(network, gradients[name])
                by_network[name] = MEMORY * by_network[name] + (1 - MEMORY) * new
            else:
                by_network[name] = neurons.group_norms(network)
        running = {**running, "importance": by_network}
        if in_gradient:
            gradients = {
                name: neurons.add_scaled(
                    gradients[name], network, _gradient_factors(name, network, running)
                )
                for name, network in networks.items()
            }
        return gradients, running

    return before_step


def proximal_step(
    part: str, networks: Networks, running: MethodState, learning_rate: float
) -> Networks:
    """A `Method.after_step`: the penalty's proximal step, which is a group soft threshold."""
    return {
        name: neurons.scale_neurons(
            network,
            jnp.maximum(0.0, 1.0 - learning_rate * _gradient_factors(name, network, running)),
        )
        for name, network in networks.items()
    }


def _gradient_factors(name: str, network: Network, running: MethodState) -> jax.Array:
    """lambda c_j sqrt(size) / ||theta_j||: times its group, that is the penalty's gradient."""
    c = 1.0 - relative_importance(running["importance"][name], network)
    roots = np.repeat(np.sqrt(neurons.group_sizes(network)), neurons.widths(network))
    norms = jnp.maximum(neurons.group_norms(network), neurons.TINY)
    return running["strength"] * c * roots.astype(np.float32) / norms
