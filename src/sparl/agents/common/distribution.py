"""What stochastic policies draw actions from: a categorical of logits, or a Gaussian."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from sparl.agents.common.discrete import chosen


def draw(logits: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.integer]:
    """Choices [batch] drawn from the softmax of logits [batch, choices]."""
    # The largest of the logits with Gumbel noise added is distributed as their softmax.
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1)


def log_probability(
    outputs: Float[Array, "out batch"],
    log_std: Float[Array, " act"] | None,
    action: Float[Array, "batch act_or_1"],
) -> tuple[Float[Array, " batch"], Float[Array, ""]]:
    """Log-probabilities of actions, or their log-densities, and the mean entropy.

    Args:
        outputs: Of the policy's network: logits, or the means of a Gaussian.
        log_std: Logarithms of its deviations, the same in every state; None for logits.
        action: As they were drawn: one column with choices, or what the Gaussian gave.
    """
    if log_std is None:
        log_pi = jax.nn.log_softmax(outputs, axis=0)
        entropy = -jnp.mean(jnp.sum(jnp.exp(log_pi) * log_pi, axis=0))
        return chosen(log_pi, action[:, 0].astype(jnp.int32)), entropy
    normal = (action.T - outputs) * jnp.exp(-log_std)[:, None]
    constant = 0.5 * math.log(2.0 * math.pi)
    density = -0.5 * jnp.sum(normal**2, axis=0) - jnp.sum(log_std + constant)
    return density, jnp.sum(log_std + constant + 0.5)
