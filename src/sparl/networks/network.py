"""Networks: layers of any layout, connected by a wiring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels
from sparl.kernels import Activation
from sparl.layouts import Dense, Layout
from sparl.networks import views, wiring
from sparl.networks.norms import AnyNorm, BatchNorm, fresh
from sparl.networks.views import Ranges
from sparl.networks.wiring import Wiring

HEAD = "head"
"""The name of a last layer that gives the outputs."""


class Network(eqx.Module):
    """Layers, connected by a wiring.

    Activations are feature-major, [features, batch]: the samples that a stored weight multiplies
    are then contiguous in memory.
    """

    layers: tuple[Layout, ...]
    norms: tuple[AnyNorm | None, ...]
    """Of each layer the norm of its sums, None where it has none."""
    input_norms: tuple[AnyNorm | None, ...]
    """Of each layer the norm of its inputs, None where it has none."""
    wiring: Wiring = eqx.field(static=True)
    squash: bool = eqx.field(static=True)
    """Whether tanh follows the last layer, as for an actor."""
    inputs: Ranges | None = eqx.field(static=True, default=None)
    """What its layers see of what it is given; None is all of it."""

    def __call__(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        """The network's outputs for a batch of inputs."""
        kernel_layers, x = self.whole(), self.select_inputs(x)
        if kernel_layers is None:
            x = self._chain_by_chain(x)
        else:
            x = kernels.network(kernel_layers, x, self.connections)
        return jnp.tanh(x) if self.squash else x

    def select_inputs(self, x: Float[Array, "in batch"]) -> Float[Array, "seen batch"]:
        """What its layers see of an input."""
        return views.select_ranges(self.inputs, x, jnp)

    @property
    def in_features(self) -> int:
        """Features of the input that its layers see."""
        return self.layers[0].in_features

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of every value of the wiring: of the input, then of each layer's output."""
        return (self.in_features, *(layer.out_features for layer in self.layers))

    @property
    def has_head(self) -> bool:
        """Whether the output is that of the last layer alone (a feature tower gives more)."""
        return self.wiring.gives == (len(self.layers),)

    def with_layers(self, layers: Sequence[Layout]) -> Network:
        """The same network with its layers replaced."""
        return eqx.tree_at(lambda n: n.layers, self, tuple(layers))

    def blank(self, layers: Sequence[Layout]) -> Network:
        """The same network with its layers replaced, and fresh norms that have their widths."""
        return replace(assembled(layers, self.wiring, self.squash), inputs=self.inputs)

    @property
    def has_batch_norms(self) -> bool:
        """Whether it gives something else in training mode: see `by_batch`."""
        return any(isinstance(norm, BatchNorm) for norm in (*self.norms, *self.input_norms))

    def norm(self, place: wiring.Place, i: int) -> AnyNorm:
        """The norm of layer i at a place, where it must have one."""
        norm = getattr(self, place)[i]
        assert norm is not None
        return norm

    def kernel_forms(self) -> list[kernels.Layer] | None:
        """The layers as the kernels take them, without norms.

        None if the kernels do not know one of the layouts.
        """
        forms = [layer.kernel_form() for layer in self.layers]
        return None if None in forms else [form for form in forms if form is not None]

    @property
    def connections(self) -> kernels.Connections | None:
        """The wiring as the kernels take it.

        None if it has layer norms or residual connections, which they do not know.
        """
        stages = self.wiring.stages
        if any("layer" in (s.norm, s.input_norm) or s.adds is not None for s in stages):
            return None
        reads, activations = zip(*((s.reads, s.activation) for s in stages), strict=True)
        return kernels.Connections(reads, activations, self.wiring.gives)

    def whole(self) -> list[kernels.Layer] | None:
        """The layers with their norms, as one kernel takes the whole network.

        None if one kernel cannot run it. Dense networks run as one kernel too: XLA's products are
        as fast, but what lies between them is not. On two cores with AVX-512 an update of TD3 takes
        two thirds of XLA's time with 2x256, and the same time with 2x1024.
        """
        forms = self.kernel_forms()
        if forms is None or self.connections is None:
            return None
        norms = zip(forms, self.norms, self.input_norms, strict=True)
        return [
            form._replace(norm=_of_kernels(norm), input_norm=_of_kernels(input_norm))
            for form, norm, input_norm in norms
        ]

    def _chain_by_chain(self, x: jax.Array) -> jax.Array:
        """Runs every chain of several layers as one kernel, and all other layers one by one.

        The two layers of a SimBa block are such a chain.
        """
        forms = self.kernel_forms()
        chain_wiring, chains = self.wiring, [(i,) for i in range(len(self.layers))]
        if forms is not None:
            chain_wiring, chains = self.wiring.segments()

        def run_chain(k: int, y: jax.Array) -> jax.Array:
            first, *others = chains[k]
            if forms is None or not others:
                return self.layers[first].apply(y)
            reads = tuple((i,) for i in range(len(chains[k])))
            # `wiring.run` applies the last layer's activation.
            inner: list[Activation | None] = [self.wiring.stages[i].activation for i in chains[k]]
            connections = kernels.Connections(reads, (*inner[:-1], None))
            return kernels.network([forms[i] for i in chains[k]], y, connections)

        def normalise(place: wiring.Place, k: int, y: jax.Array) -> jax.Array:
            return self.norm(place, chains[k][0 if place == "input_norms" else -1])(y)

        return wiring.run(chain_wiring, x, run_chain, normalise, wiring.IN_JAX)


def _of_kernels(norm: Any) -> tuple[Any, Any, Any, Any] | None:
    """A batch norm as the kernels take it."""
    if not isinstance(norm, BatchNorm):
        return None
    return norm.gain, norm.shift, norm.mean, norm.variance


Networks = dict[str, Network]
"""The networks of one part of an agent by name, for example `critic_0` and `critic_1`."""


def apply_all(networks: Networks, x: Float[Array, "in batch"]) -> Float[Array, "members out batch"]:
    """The outputs of all networks for the same inputs.

    One kernel computes them if the networks have the same form.
    """
    members = [(network.whole() or [], network.connections) for network in networks.values()]
    forms = {
        kernels.Form.of(layers, connections) if layers else None for layers, connections in members
    }
    (inputs, *others) = {network.inputs for network in networks.values()}
    alike = None not in forms and len(forms) == 1 and not others
    if not alike or any(network.squash for network in networks.values()):
        return jnp.stack([network(x) for network in networks.values()])
    layers, connections = zip(*members, strict=True)
    return kernels.networks(layers, views.select_ranges(inputs, x, jnp), connections[0])


def plain(layers: Sequence[Layout], squash: bool = False) -> Network:
    """A network of layers one after the other, with ReLU between them."""
    return assembled(layers, wiring.chain(len(layers)), squash)


def assembled(layers: Sequence[Layout], wired: Wiring, squash: bool = False) -> Network:
    """A network of layers in a wiring, with fresh norms wherever that has one."""
    return Network(
        tuple(layers),
        tuple(fresh(s.norm, la.out_features) for s, la in zip(wired.stages, layers, strict=True)),
        tuple(
            fresh(s.input_norm, la.in_features) for s, la in zip(wired.stages, layers, strict=True)
        ),
        wired,
        squash,
    )


def then(first: Network, second: Network) -> Network:
    """One network of two: the second one's input is the first one's output."""
    assert not first.squash
    assert second.inputs is None
    return Network(
        (*first.layers, *second.layers),
        (*first.norms, *second.norms),
        (*first.input_norms, *second.input_norms),
        first.wiring.then(second.wiring),
        second.squash,
        first.inputs,
    )


def dense_copy(network: Network) -> Network:
    """The same function with dense layers: weights that were not stored are zeros."""
    return network.with_layers([Dense(layer.to_dense(), layer.bias) for layer in network.layers])


def layer_names(network: Network) -> list[str]:
    """A name for each layer: `hidden_0`, `hidden_1`, …, and `head` for the last if it is one."""
    names = [f"hidden_{i}" for i in range(len(network.layers))]
    return [*names[:-1], HEAD] if network.has_head else names
