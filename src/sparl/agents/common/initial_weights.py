"""What weights begin with, where that is not PyTorch's default (see `sparl.networks.build`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers

from sparl.networks import Network

HIDDEN = math.sqrt(2.0)
"""What orthogonal weights are multiplied by, so that ReLU keeps the size of what goes through."""
Draw = Callable[[jax.Array, tuple[int, ...]], Any]


def orthogonal(key: jax.Array, network: Network, head: float = HIDDEN) -> Network:
    """The network with orthogonal weights times sqrt(2), and biases of 0 (1312.6120).

    Args:
        key: Draws the weights.
        network: Of dense layers.
        head: Multiplies the last layer's weights in place of sqrt(2).
    """
    gains = [HIDDEN] * (len(network.layers) - 1) + [head]
    return _drawn(key, network, [initializers.orthogonal(gain) for gain in gains])


def lecun_normal(key: jax.Array, network: Network) -> Network:
    """The network with normal weights of variance 1 / inputs, cut at two deviations, and biases of
    0: Flax's default (LeCun et al., Efficient BackProp, 1998).

    Args:
        key: Draws the weights.
        network: Of dense layers.
    """
    return _drawn(key, network, [initializers.lecun_normal(1, 0)] * len(network.layers))


def redrawn(
    key: jax.Array,
    parts: dict[str, dict[str, Any]],
    roles: Collection[str],
    draw: Callable[[jax.Array, Network], Network],
) -> dict[str, dict[str, Any]]:
    """The parts of an agent, the networks of those with a role drawn anew."""
    drawn = dict(parts)
    for part in roles:
        key, *keys = jax.random.split(key, len(parts[part]) + 1)
        networks = zip(keys, parts[part].items(), strict=True)
        drawn[part] = {name: draw(key, network) for key, (name, network) in networks}
    return drawn


def _drawn(key: jax.Array, network: Network, draws: list[Draw]) -> Network:
    keys = jax.random.split(key, len(network.layers))
    layers = [
        replace(layer, weight=draw(key, layer.shape), bias=jnp.zeros_like(layer.bias))
        for key, draw, layer in zip(keys, draws, network.layers, strict=True)
    ]
    return network.with_layers(layers)
