"""Transitions as an update takes them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Batch(NamedTuple):
    """Transitions drawn from the replay, of m environment steps each; m is 1 for 1-step returns.

    Continuous actions are in [-1, 1], a discrete one is its number (from 0) in a single column.
    `reward` is the discounted sum of the m rewards, `discount` is gamma to the power of m, and
    `terminated`, 0 or 1, is that of the last step.
    """

    observation: Float[Array, "batch obs"]
    action: Float[Array, "batch act"]
    reward: Float[Array, " batch"]
    next_observation: Float[Array, "batch obs"]
    terminated: Float[Array, " batch"]
    discount: Float[Array, " batch"]
    weight: Float[Array, " batch"] | None = None
    """Of each transition in the critics' loss, where they were not drawn uniformly."""
    extras: dict[str, Float[Array, " batch"]] | None = None
    """What an agent put behind a rollout's transitions, by name (`Agent.extras`)."""

    def mean(self, losses: Float[Array, "*critics batch"]) -> Float[Array, "*critics"]:
        """The mean loss over the batch, weighted where there are weights."""
        return jnp.mean(losses if self.weight is None else self.weight * losses, axis=-1)
