"""Networks and Adam's moments from the tensors of Stable-Baselines3."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile, BadValue
from sparl.interop.sb3_file import SB3File
from sparl.interop.trained_agent import Members, Moments
from sparl.kernels import Activation
from sparl.layouts import Dense
from sparl.networks import Network, assembled, chain

Tensors = dict[str, NDArray[Any]]
"""A state dict: `actor.mu.0.weight` [out, in], `actor.mu.0.bias` [out], …"""

Build = Callable[[Tensors], Members]
"""Builds networks from a state dict; also from moments, which are aligned with the weights."""


def mlp(
    tensors: Tensors, prefix: str, activation: Activation = "relu", squash: bool = False
) -> Network:
    """Builds a network of linear layers `PREFIX.0`, `PREFIX.2`, … with activations between them."""
    return assembled_of(layers(tensors, prefix), activation, squash)


def layers(tensors: Tensors, prefix: str) -> list[Dense]:
    """The linear layers `PREFIX.0`, `PREFIX.2`, …

    Raises:
        BadValue: There are others, or none.
    """
    numbers = sorted(
        int(name.removeprefix(f"{prefix}.").removesuffix(".weight"))
        for name in tensors
        if name.startswith(f"{prefix}.") and name.endswith(".weight")
    )
    if not numbers or numbers != list(range(0, 2 * len(numbers), 2)):
        raise BadValue(
            f"{prefix} has its linear layers at {numbers}; sparl imports linear layers with an "
            "activation after each (0, 2, 4, …), and at least one hidden layer"
        )
    return [dense(tensors, f"{prefix}.{number}") for number in numbers]


def assembled_of(layers: Sequence[Dense], activation: Activation, squash: bool = False) -> Network:
    """A network of layers one after the other."""
    return assembled(layers, chain(len(layers), activation), squash)


def dense(tensors: Tensors, name: str) -> Dense:
    """The linear layer of that name, checked."""
    try:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    except KeyError as error:
        raise BadFile(f"the policy lacks {error}") from error
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise BadFile(
            f"{name} has weights {weight.shape} and biases {bias.shape}",
            field=name,
            value=weight.shape,
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise BadFile(f"{name} has numbers that are not finite", field=name)
    return Dense(jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32))


def widths(acting: Network, critic: Network | None = None) -> dict[str, Any]:
    """Gives the options `hidden` and, where it differs, `critic_hidden`."""
    networks = [acting] if critic is None else [acting, critic]
    found = []
    for network in networks:
        layers = network.layers
        if len(layers) == 1:
            raise BadValue(
                "a network of the file has no hidden layer; networks of sparl have at least one"
            )
        if any(a.out_features != b.in_features for a, b in itertools.pairwise(layers)):
            raise BadFile(f"layers do not fit together: {[la.shape for la in layers]}")
        found.append(tuple(layer.out_features for layer in layers[:-1]))
    options: dict[str, Any] = {"hidden": found[0]}
    return options if len(set(found)) == 1 else options | {"critic_hidden": found[1]}


def moments(
    file: SB3File, name: str, prefix: str, build: Build, tensors: Tensors | None = None
) -> Moments | None:
    """Gives Adam's moments of the tensors under `prefix`; None if the file has none."""
    states = file.adam(name)
    if states is None:
        return None
    all_tensors = file.tensors("policy") if tensors is None else tensors
    names = [tensor for tensor in all_tensors if tensor.startswith(prefix)]
    try:
        first = build({tensor: states[i]["exp_avg"] for i, tensor in enumerate(names)})
        second = build({tensor: states[i]["exp_avg_sq"] for i, tensor in enumerate(names)})
        steps = int(states[0]["step"])
        if not 0 <= steps < 2**31:
            raise ValueError(f"{steps} steps")
        return Moments(steps, first, second)
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise BadFile(f"{name}.pth of {file.path} has other moments than Adam's") from error
