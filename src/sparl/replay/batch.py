"""A batch: the transitions of one update."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Batch(NamedTuple):
    """Transitions of m environment steps each; m is 1 for 1-step returns."""

    observation: Float[Array, "batch obs"]
    action: Float[Array, "batch act"]
    """Continuous actions in [-1, 1], or one column with the number of a discrete one, from 0."""
    reward: Float[Array, " batch"]
    """The discounted sum of the m rewards."""
    next_observation: Float[Array, "batch obs"]
    """The observation after the last of the m steps."""
    terminated: Float[Array, " batch"]
    """1 if the environment ended the episode in the last step, else 0."""
    discount: Float[Array, " batch"]
    """gamma to the power of m."""
    weight: Float[Array, " batch"] | None = None
    """Weights in the critics' loss, if the transitions were not drawn uniformly."""
    extras: dict[str, Float[Array, " batch"]] | None = None
    """Further columns of an agent's rollouts, by name (`Agent.extras`)."""

    @property
    def bootstrap(self) -> Float[Array, " batch"]:
        """What the value of the next observation counts for: the discount, or 0 where the
        environment ended the episode. A time limit (truncation) does not end a value."""
        return self.discount * (1.0 - self.terminated)

    def mean(self, losses: Float[Array, "*critics batch"]) -> Float[Array, "*critics"]:
        """The mean loss over the batch, weighted by `weight` if there is one."""
        return jnp.mean(losses if self.weight is None else self.weight * losses, axis=-1)
