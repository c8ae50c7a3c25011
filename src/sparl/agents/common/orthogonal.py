"""Orthogonal weights to begin with (Saxe et al., 1312.6120)."""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import jax.numpy as jnp

from sparl.networks import Network

HIDDEN = math.sqrt(2.0)
"""What orthogonal weights are multiplied by, so that ReLU keeps the size of what goes through."""


def orthogonal(key: jax.Array, network: Network, head: float = HIDDEN) -> Network:
    """The network with orthogonal weights times sqrt(2), and biases of 0.

    Args:
        key: Draws the weights.
        network: Of dense layers.
        head: Multiplies the last layer's weights in place of sqrt(2).
    """
    gains = [HIDDEN] * (len(network.layers) - 1) + [head]
    keys = jax.random.split(key, len(network.layers))
    layers = [
        replace(
            layer,
            weight=jax.nn.initializers.orthogonal(gain)(key, layer.shape),
            bias=jnp.zeros_like(layer.bias),
        )
        for key, gain, layer in zip(keys, gains, network.layers, strict=True)
    ]
    return network.with_layers(layers)
