"""Dense networks of each kind, freshly initialised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from sparl.kernels import Activation
from sparl.layouts import Dense
from sparl.networks import wiring
from sparl.networks.network import Network, assembled
from sparl.networks.norms import Norm
from sparl.networks.wiring import NormPlace, Wiring

Kind = Literal["mlp", "densenet", "d2rl", "simba"]

KINDS: tuple[Kind, ...] = get_args(Kind)

EXPANSION = 4
"""Width of a SimBa block's inner layer, as a multiple of the residual stream's (2410.09754)."""


def build(
    key: jax.Array | None,
    sizes: Sequence[int],
    squash: bool = False,
    kind: Kind = "mlp",
    activation: Activation = "relu",
    norm: Norm | None = None,
    norm_place: NormPlace = "before",
    norm_input: bool = True,
) -> Network:
    """A freshly initialised dense network.

    Weights and biases are uniform in +-1/sqrt(inputs of the layer). That is PyTorch's default for
    linear layers, and so that of the field's TD3 and SAC codes. A `simba` is initialised as in its
    authors' code: weights in blocks are He-normal, all others orthogonal, and biases 0.

    Args:
        key: Draws the weights. None gives zeros, for who draws others later: drawing compiles once
            for every shape. A `simba` has its own weights even so.
        sizes: Inputs, hidden widths, outputs. A `simba` has one block for each hidden width, and
            all hidden widths must be equal.
        squash: Whether tanh follows the last layer, as for an actor.
        kind: How the layers are connected.
        activation: Between layers.
        norm: Of every hidden layer; a `simba` has its own.
        norm_place: In front of their activations, or behind them.
        norm_input: Whether the network's input has such a norm, too.
    """
    inputs, *hidden, outputs = sizes
    if kind == "simba":
        key = jax.random.key(0) if key is None else key
        return _simba(key, inputs, hidden, outputs, squash, activation)
    count = len(hidden) + 1
    wired = {"mlp": wiring.chain, "densenet": wiring.densenet, "d2rl": wiring.d2rl}[kind]
    normed = wired(count, activation).normed(norm, norm_place, norm_input)
    return _with_default_weights(key, normed, inputs, (*hidden, outputs), squash)


def feature_tower(
    key: jax.Array, inputs: int, widths: Sequence[int], activation: Activation
) -> Network:
    """A DenseNet with batch norms that returns its input and the outputs of all its layers.

    OFENet learns its features with it (2003.01629).
    """
    return _with_default_weights(key, wiring.feature_tower(len(widths), activation), inputs, widths)


def _with_default_weights(
    key: jax.Array | None, wired: Wiring, inputs: int, outputs: Sequence[int], squash: bool = False
) -> Network:
    """A network with PyTorch's default weights, or zeros; layer i has `outputs[i]` outputs."""
    widths, layers = (inputs, *outputs), []
    keys = [None] * len(outputs) if key is None else jax.random.split(key, len(outputs))
    for layer_key, stage, rows in zip(keys, wired.stages, outputs, strict=True):
        columns = sum(widths[value] for value in stage.reads)
        if layer_key is None:
            layers.append(Dense(jnp.zeros((rows, columns)), jnp.zeros(rows)))
            continue
        weight_key, bias_key = jax.random.split(layer_key)
        bound = columns**-0.5
        layers.append(
            Dense(
                jax.random.uniform(weight_key, (rows, columns), jnp.float32, -bound, bound),
                jax.random.uniform(bias_key, (rows,), jnp.float32, -bound, bound),
            )
        )
    return assembled(layers, wired, squash)


def _simba(
    key: jax.Array,
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    squash: bool,
    activation: Activation,
) -> Network:
    """A SimBa network, initialised as in its authors' code (2410.09754)."""
    (width,), blocks = set(hidden), len(hidden)
    orthogonal, he_normal = jax.nn.initializers.orthogonal(), jax.nn.initializers.he_normal(1, 0)
    block = [(he_normal, EXPANSION * width, width), (he_normal, width, EXPANSION * width)]
    weights = [(orthogonal, width, inputs), *block * blocks, (orthogonal, outputs, width)]
    layers = []
    for layer_key, weight in zip(jax.random.split(key, len(weights)), weights, strict=True):
        initialize, rows, columns = weight
        layers.append(Dense(initialize(layer_key, (rows, columns), jnp.float32), jnp.zeros(rows)))
    return assembled(layers, wiring.simba(blocks, activation), squash)
