"""The one-step actor-critic with temporal differences (Sutton and Barto, 2nd edition, 13.5).

The critic moves v(s) towards r + gamma v(s'), held constant (a semi-gradient); the actor ascends
log pi(a|s) times the TD error of the critic before that move. It is what primal-dual pi learning
(1712.02467) is compared with, and shares with it everything but the critic's loss and the values
that judge the actor.

Our reading: the actor's step has no factor gamma^t, which the book's pseudocode has. With it, late
steps of long episodes would hardly move the actor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl.agents.common.one_step import OneStepAgent
from sparl.networks import Network
from sparl.replay import Batch


@dataclass(frozen=True)
class ActorCritic(OneStepAgent):
    """The one-step actor-critic, on-policy, for discrete actions (Sutton and Barto, 13.5)."""

    name: ClassVar[str] = "actor_critic"

    @property
    def next_value_share(self) -> float:
        return 0.0

    def critic_loss(
        self, value: Float[Array, " batch"], advantage: Float[Array, " batch"], batch: Batch
    ) -> Float[Array, ""]:
        """Half of the squared TD error."""
        return 0.5 * jnp.mean(advantage**2)

    def judge(self, before: Network, after: Network) -> Network:
        return before
