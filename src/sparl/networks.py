"""Multilayer perceptrons out of layouts, and their initialisation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels
from sparl.layouts import Dense, Layout


class MLP(eqx.Module):
    """Layers with ReLU between them and, for an actor, tanh at the end.

    Activations are feature-major, [features, batch]: a stored weight then meets the batch along
    the fast axis.
    """

    layers: tuple[Layout, ...]
    squash: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        packed = self.packed()
        x = self._layer_by_layer(x) if packed is None else kernels.network(packed, x)
        return jnp.tanh(x) if self.squash else x

    def kernel_forms(self) -> list[kernels.Layer] | None:
        """The layers as the kernels take them; None if there is one that they do not know."""
        forms = [layer.kernel_form() for layer in self.layers]
        return None if None in forms else [form for form in forms if form is not None]

    def packed(self) -> list[kernels.Layer] | None:
        """`kernel_forms` of a network to run as one kernel: one with packed layers among them."""
        forms = self.kernel_forms()
        return forms if forms and any(form.places is not None for form in forms) else None

    def _layer_by_layer(self, x: jax.Array) -> jax.Array:
        *hidden, head = self.layers
        for layer in hidden:
            x = jax.nn.relu(layer.apply(x))
        return head.apply(x)


Networks = dict[str, MLP]
"""Networks of one part of an agent, by name: `critic_0`, `critic_1`."""


def all_of(networks: Networks, x: Float[Array, "in batch"]) -> Float[Array, "members out batch"]:
    """What every network makes of the same inputs: in one kernel, if they are alike."""
    members = [network.packed() for network in networks.values()]
    packed = [member for member in members if member is not None]
    alike = len(packed) == len(members) and len({kernels.Form.of(member) for member in packed}) == 1
    if not alike or any(network.squash for network in networks.values()):
        return jnp.stack([network(x) for network in networks.values()])
    return kernels.networks(packed, x)


def mlp(key: jax.Array, sizes: Sequence[int], squash: bool = False) -> MLP:
    """A dense MLP through `sizes` (inputs, hidden widths, outputs).

    Weights and biases are uniform in +-1/sqrt(inputs of the layer), PyTorch's default for linear
    layers and so that of the field's TD3 and SAC codes.
    """
    layers = []
    for layer_key, (inputs, outputs) in zip(
        jax.random.split(key, len(sizes) - 1),
        itertools.pairwise(sizes),
        strict=True,
    ):
        weight_key, bias_key = jax.random.split(layer_key)
        bound = inputs**-0.5
        layers.append(
            Dense(
                jax.random.uniform(weight_key, (outputs, inputs), jnp.float32, -bound, bound),
                jax.random.uniform(bias_key, (outputs,), jnp.float32, -bound, bound),
            )
        )
    return MLP(tuple(layers), squash)


def dense_copy(network: MLP) -> MLP:
    """The same function with every weight stored, zeros where there was none."""
    return MLP(tuple(Dense(la.to_dense(), la.bias) for la in network.layers), network.squash)


def layer_names(network: MLP) -> list[str]:
    """`hidden_0`, `hidden_1`, …, `head`, in the order of the layers."""
    return [f"hidden_{i}" for i in range(len(network.layers) - 1)] + ["head"]
