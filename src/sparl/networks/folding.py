"""Batch norms folded into layers, for whoever ships a network: a device needs none of them."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp

from sparl import kernels
from sparl.networks.network import Network
from sparl.networks.norms import AnyNorm, BatchNorm


def folded(network: Network) -> Network:
    """The same function in evaluation mode, without batch norms of inputs.

    W (f * x + o) + b is (W diag(f)) x + (W o + b). Where one stored weight stands for several
    entries of W, as in circulant blocks, the factors of its columns differ: those norms stay.
    """
    layers, norms, stages = [], list[AnyNorm | None](), []
    of_inputs = zip(network.layers, network.input_norms, network.wiring.stages, strict=True)
    for layer, norm, stage in of_inputs:
        if isinstance(norm, BatchNorm) and layer.copies == 1:
            factor, offset = kernels.affine(norm.gain, norm.shift, norm.mean, norm.variance)
            of_weights = layer.pick(jnp.broadcast_to(factor, layer.shape))
            arrays = layer.weight * of_weights, layer.bias + layer.to_dense() @ offset
            layer = eqx.tree_at(lambda la: (la.weight, la.bias), layer, arrays)
            norm, stage = None, replace(stage, input_norm=None)
        layers.append(layer)
        norms.append(norm)
        stages.append(stage)
    wiring = replace(network.wiring, stages=tuple(stages))
    return replace(network, layers=tuple(layers), input_norms=tuple(norms), wiring=wiring)
