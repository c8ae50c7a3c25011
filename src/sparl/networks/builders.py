"""Dense networks of the known kinds, freshly initialised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from sparl.kernels import Activation
from sparl.layouts import Dense
from sparl.networks import wiring
from sparl.networks.network import Network
from sparl.networks.norms import BatchNorm, LayerNorm
from sparl.networks.wiring import Wiring

Kind = Literal["mlp", "densenet", "d2rl", "simba"]


KINDS: tuple[Kind, ...] = get_args(Kind)


EXPANSION = 4
"""Widths of a SimBa block's inner layer, as a multiple of the residual stream's (2410.09754)."""


def build(
    key: jax.Array,
    sizes: Sequence[int],
    squash: bool = False,
    kind: Kind = "mlp",
    activation: Activation = "relu",
) -> Network:
    """A dense network from `sizes`: inputs, hidden widths, outputs.

    Weights and biases are uniform in +-1/sqrt(inputs of the layer), PyTorch's default for linear
    layers and so that of the field's TD3 and SAC codes. A `simba` has a block for each hidden
    width, which must be the same for all; its weights are orthogonal, those of blocks He-normal,
    and its biases 0, as in its authors' code.
    """
    inputs, *hidden, outputs = sizes
    if kind == "simba":
        return _simba(key, inputs, hidden, outputs, squash, activation)
    count = len(hidden) + 1
    wired = {"mlp": wiring.chain, "densenet": wiring.densenet, "d2rl": wiring.d2rl}[kind]
    return _of_shapes(key, wired(count, activation), inputs, (*hidden, outputs), squash)


def feature_tower(
    key: jax.Array, inputs: int, widths: Sequence[int], activation: Activation
) -> Network:
    """Dense blocks with batch norms, which give their input and all that they made of it."""
    return _of_shapes(key, wiring.feature_tower(len(widths), activation), inputs, widths)


def _of_shapes(
    key: jax.Array, wired: Wiring, inputs: int, outputs: Sequence[int], squash: bool = False
) -> Network:
    """A network of that wiring whose layers give `outputs`, of PyTorch's default weights."""
    widths, layers, norms = (inputs, *outputs), [], []
    keys = jax.random.split(key, len(outputs))
    for layer_key, stage, rows in zip(keys, wired.stages, outputs, strict=True):
        columns = sum(widths[value] for value in stage.reads)
        weight_key, bias_key = jax.random.split(layer_key)
        bound = columns**-0.5
        layers.append(
            Dense(
                jax.random.uniform(weight_key, (rows, columns), jnp.float32, -bound, bound),
                jax.random.uniform(bias_key, (rows,), jnp.float32, -bound, bound),
            )
        )
        norms.append(BatchNorm.fresh(rows) if stage.norm == "batch" else None)
    return Network(tuple(layers), tuple(norms), wired, squash)


def _simba(
    key: jax.Array,
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    squash: bool,
    activation: Activation,
) -> Network:
    (width,), blocks = set(hidden), len(hidden)
    orthogonal, he = jax.nn.initializers.orthogonal(), jax.nn.initializers.he_normal(1, 0)
    within = [(he, EXPANSION * width, width), (he, width, EXPANSION * width)] * blocks
    shapes = [(orthogonal, width, inputs), *within, (orthogonal, outputs, width)]
    wired = wiring.simba(blocks, activation)
    layers, norms = [], []
    keys = jax.random.split(key, len(shapes))
    for own, (drawn, rows, columns), stage in zip(keys, shapes, wired.stages, strict=True):
        layers.append(Dense(drawn(own, (rows, columns), jnp.float32), jnp.zeros(rows)))
        norms.append(LayerNorm.fresh(columns) if stage.norm == "layer" else None)
    return Network(tuple(layers), tuple(norms), wired, squash)
