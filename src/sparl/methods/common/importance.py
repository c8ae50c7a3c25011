"""How important hidden neurons are, and which of them are dropped for it."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sparl.methods.common import neurons
from sparl.methods.common.neurons import TINY, PerNeuron
from sparl.networks import Network


def saliency(network: Network, gradient: Network) -> PerNeuron:
    """The first-order change of the loss without each neuron j (Taylor pruning, 1611.06440).

    That is |sum over the batch of a_j dL/da_j|. It equals |sum_k w_kj g_kj| over the neuron's
    outgoing weights, whatever the activation, so weights and gradients are enough.

    Args:
        gradient: The loss's gradient by the network's weights.
    """
    products = []
    for i in neurons.hidden(network):
        pairs = zip(
            neurons.outgoing_weights(network, network, i + 1),
            neurons.outgoing_weights(network, gradient, i + 1),
            strict=True,
        )
        products.append(sum(jnp.sum(weight * g, axis=0) for weight, g in pairs))
    return jnp.abs(neurons.concatenate(products))


def relative_importance(importance: PerNeuron, network: Network) -> Float[Array, " neurons"]:
    """Importance divided by the largest of the layer, I_j / max I; 0 where all are 0."""
    layers = neurons.by_layer(importance, network)
    return neurons.concatenate([layer / jnp.maximum(jnp.max(layer), TINY) for layer in layers])


def drop_least_important(
    importance: Float[Array, " width"],
    alive: Float[Array, " width"],
    lost: Float[Array, ""],
    fewest: Float[Array, ""],
    limit: Float[Array, ""],
    allowed: Bool[Array, ""],
) -> tuple[Float[Array, " width"], Float[Array, ""]]:
    """Drops the least important neurons of a layer until a limit is reached.

    A layer whose importance is 0 everywhere keeps all its neurons: either nothing was learned of
    it yet, or it is dead.

    Args:
        alive: 1 for each neuron that is still there, else 0.
        lost: Share of the layer's importance that was dropped so far.
        fewest: Neurons that must stay.
        limit: Most of the importance, as a share, that may be dropped in all.
        allowed: Whether any neuron may be dropped now.

    Returns:
        The new `alive` and the new `lost`.
    """
    total = jnp.sum(importance * alive)
    order = jnp.argsort(jnp.where(alive > 0, importance, jnp.inf))
    shares = (importance * alive)[order] / jnp.where(total > 0, total, 1.0)
    lost_after = lost + (1.0 - lost) * jnp.cumsum(shares)
    # `fewest` is exact at the end of its path but for rounding.
    droppable = jnp.floor(jnp.sum(alive) - fewest + 1e-3)
    dropped = (lost_after <= limit) & (jnp.arange(len(order)) < droppable) & (total > 0) & allowed
    count = jnp.sum(dropped)
    return alive.at[order].multiply(~dropped), jnp.where(count > 0, lost_after[count - 1], lost)
