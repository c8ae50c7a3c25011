"""Outputs that are clipped, written as layers: whatever takes networks takes them, too."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp

from sparl.layouts import Dense
from sparl.networks.network import Network
from sparl.networks.wiring import Stage, Wiring


def with_clipped_output(network: Network, most: float) -> Network:
    """The network with its outputs clipped to within `most` of 0, before they are squashed.

    clip(y) = relu(y + most) - relu(y - most) - most, which makes one layer more.

    Args:
        network: Layers one after the other, without norms; the last is dense and has no activation.
        most: Above 0.
    """
    *hidden, head = network.layers
    count, last = head.out_features, len(hidden)
    both = Dense(
        jnp.concatenate([head.to_dense()] * 2),
        jnp.concatenate([head.bias + most, head.bias - most]),
    )
    difference = jnp.concatenate([jnp.eye(count), -jnp.eye(count)], axis=1)
    stages = (*network.wiring.stages[:-1], Stage((last,), "relu"), Stage((last + 1,)))
    return replace(
        network,
        layers=(*hidden, both, Dense(difference, jnp.full(count, -most, jnp.float32))),
        norms=(*network.norms, None),
        input_norms=(*network.input_norms, None),
        wiring=Wiring(stages, (last + 2,)),
    )
