"""Networks in training mode: batch norms go by the batch, and it moves their running statistics.

What comes out is the outputs, and the networks with moved statistics. Nothing else of these
networks differs, and networks without batch norms come out as they went in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from sparl import kernels
from sparl.networks import wiring
from sparl.networks.network import Network, Networks, apply_all
from sparl.networks.norms import AnyNorm, BatchNorm


def by_batch(
    network: Network,
    x: Float[Array, "in batch"],
    renormalise: Bool[Array, ""] | bool = False,
    samples: int | None = None,
) -> tuple[Float[Array, "out samples"], Network]:
    """The outputs of a network whose batch norms go by the batch, and the network afterwards.

    Differentiable in all that is trained. What subtracting a batch's mean takes away again has
    gradient 0: a bias in front of a batch norm, and a shift of the inputs of such a layer.

    Args:
        network: Any network.
        x: A batch of inputs.
        renormalise: See `BatchNorm.of_batch`.
        samples: Of how many samples the outputs are wanted, the first ones; all if not given.
            Norms go by the whole batch.
    """
    if not network.has_batch_norms:
        return network(x[:, :samples]), network
    network = _constants_held(network)
    on_kernels = _on_kernels({"": network}, x, renormalise, samples)
    if on_kernels is not None:
        outputs, moved = on_kernels
        return outputs[0], moved[""]
    norms: dict[wiring.Place, list[AnyNorm | None]] = {
        "norms": list(network.norms),
        "input_norms": list(network.input_norms),
    }

    def normalised(place: wiring.Place, i: int, y: jax.Array) -> jax.Array:
        norm = network.norm(place, i)
        if not isinstance(norm, BatchNorm):
            return norm(y)
        y, norms[place][i] = norm.of_batch(y, renormalise)
        return y

    def linear(i: int, y: jax.Array) -> jax.Array:
        return network.layers[i].apply(y)

    y = wiring.run(network.wiring, network.select_inputs(x), linear, normalised, wiring.IN_JAX)
    y = y[:, :samples]
    moved = {place: tuple(of_layers) for place, of_layers in norms.items()}
    return jnp.tanh(y) if network.squash else y, replace(network, **moved)


def all_by_batch(
    networks: Networks,
    x: Float[Array, "in batch"],
    renormalise: Bool[Array, ""] | bool = False,
    samples: int | None = None,
) -> tuple[Float[Array, "members out samples"], Networks]:
    """`by_batch` of several networks for the same inputs."""
    if not any(network.has_batch_norms for network in networks.values()):
        return apply_all(networks, x[:, :samples]), networks
    networks = {name: _constants_held(network) for name, network in networks.items()}
    on_kernels = _on_kernels(networks, x, renormalise, samples)
    if on_kernels is not None:
        return on_kernels
    results = {
        name: by_batch(network, x, renormalise, samples) for name, network in networks.items()
    }
    outputs = jnp.stack([y for y, _ in results.values()])
    return outputs, {name: network for name, (_, network) in results.items()}


def _constants_held(network: Network) -> Network:
    """The network without gradients by what a batch norm takes away again.

    That is the bias of a layer in front of one, and the shift of the norm of that layer's inputs.
    Their gradients are nothing but rounding, of which Adam would make steps.
    """
    for i, norm in enumerate(network.norms):
        if isinstance(norm, BatchNorm):
            network = eqx.tree_at(
                lambda n, i=i: n.layers[i].bias, network, replace_fn=stop_gradient
            )
            if isinstance(network.input_norms[i], BatchNorm):
                network = eqx.tree_at(
                    lambda n, i=i: n.input_norms[i].shift, network, replace_fn=stop_gradient
                )
    return network


def _on_kernels(
    networks: Networks,
    x: Float[Array, "in batch"],
    renormalise: Bool[Array, ""] | bool,
    samples: int | None,
) -> tuple[Float[Array, "members out samples"], Networks] | None:
    """`all_by_batch` as one call of the kernels; None if they cannot run these networks at once."""
    members = [network.whole() for network in networks.values()]
    first, *others = networks.values()
    connections = first.connections
    if connections is None or None in members or not kernels.usable():
        return None
    layers = [of_network for of_network in members if of_network is not None]
    form = kernels.Form.of(layers[0], connections)
    shared = (connections, first.squash, first.inputs, form)
    if any(
        (n.connections, n.squash, n.inputs, kernels.Form.of(of_network, connections)) != shared
        for n, of_network in zip(others, layers[1:], strict=True)
    ):
        return None
    y, seen = kernels.by_batch(layers, first.select_inputs(x), connections, renormalise, samples)

    def moved(norms: Sequence[AnyNorm | None], moments: Sequence[Any]) -> tuple[Any, ...]:
        pairs = zip(norms, moments, strict=True)
        return tuple(n.moved(*m) if isinstance(n, BatchNorm) else n for n, m in pairs)

    found = {
        name: replace(
            network,
            norms=moved(network.norms, of_network.sums),
            input_norms=moved(network.input_norms, of_network.inputs),
        )
        for (name, network), of_network in zip(networks.items(), seen, strict=True)
    }
    return jnp.tanh(y) if first.squash else y, found


def with_statistics(network: Network, seen: Network) -> Network:
    """`network` with the running statistics of `seen`."""

    def updated(norm: Any, after: Any) -> Any:
        if not isinstance(norm, BatchNorm):
            return norm
        return BatchNorm(norm.gain, norm.shift, after.mean, after.variance)

    return replace(
        network,
        norms=tuple(map(updated, network.norms, seen.norms)),
        input_norms=tuple(map(updated, network.input_norms, seen.input_norms)),
    )
