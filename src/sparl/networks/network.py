"""Networks out of layouts, in one of several wirings, and their initialisation."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels
from sparl.kernels import Activation
from sparl.layouts import Dense, Layout
from sparl.networks import wiring
from sparl.networks.norms import BatchNorm, LayerNorm
from sparl.networks.wiring import Wiring


class Network(eqx.Module):
    """Layers, connected as its wiring says; for an actor, tanh at the end.

    Activations are feature-major, [features, batch]: a stored weight then meets the batch along
    the fast axis.
    """

    layers: tuple[Layout, ...]
    norms: tuple[LayerNorm | BatchNorm | None, ...]
    wiring: Wiring = eqx.field(static=True)
    squash: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        whole = self.whole()
        if whole is None:
            x = self._chain_by_chain(x)
        else:
            x = kernels.network(whole, x, self.connections)
        return jnp.tanh(x) if self.squash else x

    @property
    def in_features(self) -> int:
        return self.layers[0].in_features

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of every value of the wiring: of the input, and of what each layer gives."""
        return (self.in_features, *(layer.out_features for layer in self.layers))

    @property
    def has_head(self) -> bool:
        """Whether it gives what its last layer does, and nothing else, as a tower does not."""
        return self.wiring.gives == (len(self.layers),)

    def with_layers(self, layers: Sequence[Layout]) -> Network:
        """The same network with other layers in the places of its own."""
        return eqx.tree_at(lambda n: n.layers, self, tuple(layers))

    def blank(self, layers: Sequence[Layout]) -> Network:
        """The same network with those layers, and norms of their widths, to be filled."""
        norms = [
            norm
            and type(norm).fresh(layer.in_features if place.norm == "layer" else layer.out_features)
            for norm, layer, place in zip(self.norms, layers, self.wiring.stages, strict=True)
        ]
        return Network(tuple(layers), tuple(norms), self.wiring, self.squash)

    def kernel_forms(self) -> list[kernels.Layer] | None:
        """The layers as the kernels take them; None if there is one that they do not know."""
        forms = [layer.kernel_form() for layer in self.layers]
        return None if None in forms else [form for form in forms if form is not None]

    @property
    def connections(self) -> kernels.Connections | None:
        """The wiring as the kernels take it; None if it has what they do not know."""
        stages = self.wiring.stages
        if any(stage.norm == "layer" or stage.adds is not None for stage in stages):
            return None
        reads, activations = zip(*((s.reads, s.activation) for s in stages), strict=True)
        return kernels.Connections(reads, activations, self.wiring.gives)

    def whole(self) -> list[kernels.Layer] | None:
        """`kernel_forms` of a network that runs as one kernel, with its norms; None if it cannot.

        Dense ones, too: XLA's products are as fast, but not what lies between them. (On two cores
        with AVX-512 an update of TD3 takes two thirds of the time with 2x256, as long with 2x1024.)
        """
        forms = self.kernel_forms()
        if forms is None or self.connections is None:
            return None
        return [
            form._replace(norm=(norm.gain, norm.shift, norm.mean, norm.variance))
            if isinstance(norm, BatchNorm)
            else form
            for form, norm in zip(forms, self.norms, strict=True)
        ]

    def _chain_by_chain(self, x: jax.Array) -> jax.Array:
        """Chains of several layers by the kernels, if these know them (within SimBa's blocks, say),
        and every other layer by itself."""
        forms = self.kernel_forms()
        wired, chains = self.wiring, [(i,) for i in range(len(self.layers))]
        if forms is not None:
            wired, chains = wired.segments()

        def linear(k: int, y: jax.Array) -> jax.Array:
            first, *others = chains[k]
            if forms is None or not others:
                return self.layers[first].apply(y)
            reads = tuple((i,) for i in range(len(chains[k])))
            inner: list[Activation | None] = [self.wiring.stages[i].activation for i in chains[k]]
            connections = kernels.Connections(reads, (*inner[:-1], None))
            return kernels.network([forms[i] for i in chains[k]], y, connections)

        return wiring.run(wired, x, linear, lambda k, y: self._norm(chains[k][0])(y), wiring.IN_JAX)

    def _norm(self, i: int) -> LayerNorm | BatchNorm:
        norm = self.norms[i]
        assert norm is not None
        return norm


Networks = dict[str, Network]
"""Networks of one part of an agent, by name: `critic_0`, `critic_1`."""


def all_of(networks: Networks, x: Float[Array, "in batch"]) -> Float[Array, "members out batch"]:
    """What every network makes of the same inputs: in one kernel, if they are alike."""
    members = [(network.whole() or [], network.connections) for network in networks.values()]
    forms = {
        kernels.Form.of(layers, connected) if layers else None for layers, connected in members
    }
    if None in forms or len(forms) > 1 or any(network.squash for network in networks.values()):
        return jnp.stack([network(x) for network in networks.values()])
    layers, connections = zip(*members, strict=True)
    return kernels.networks(layers, x, connections[0])


def plain(layers: Sequence[Layout], squash: bool = False) -> Network:
    """Layers one after the other, with ReLU between them."""
    layers = tuple(layers)
    return Network(layers, (None,) * len(layers), wiring.chain(len(layers)), squash)


def then(first: Network, second: Network) -> Network:
    """One network of two, the second on what the first gives."""
    assert not first.squash
    return Network(
        (*first.layers, *second.layers),
        (*first.norms, *second.norms),
        first.wiring.then(second.wiring),
        second.squash,
    )


def dense_copy(network: Network) -> Network:
    """The same function with every weight stored, zeros where there was none."""
    return network.with_layers([Dense(layer.to_dense(), layer.bias) for layer in network.layers])


def layer_names(network: Network) -> list[str]:
    """`hidden_0`, `hidden_1`, …, in the order of the layers, and `head` if there is one."""
    names = [f"hidden_{i}" for i in range(len(network.layers))]
    return [*names[:-1], "head"] if network.has_head else names
