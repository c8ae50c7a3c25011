"""CrossQ: batch norms in place of target networks (Bhatt et al., 1902.05605, ICLR 2024).

SAC, with four changes. Critics and actor have batch norms on their input and behind each
activation. There are no target networks: the pairs (s, a) and (s', a') go through the critics as
one batch in training mode, so that both are normalised alike, and the values of s' are held
constant. Adam forgets faster (beta1 0.5). The policy and the temperature are updated every third
time, against the critics in evaluation mode.

As in the authors' code, weights begin as Flax draws them (they are 1.7 times PyTorch's), the action
of s' is drawn from the policy in evaluation mode, and the norms are renormalised (1702.03275). That
code and SBX's begin with it after 100,000 updates. The temperature's loss has the logarithm of the
temperature in place of itself (SAC's eq. 18), as theirs: a small temperature then falls as fast as
a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, UInt32

from sparl.agents.common.initial_weights import lecun_normal, redrawn
from sparl.agents.sac import SAC, drawn
from sparl.errors import BadValue
from sparl.learner import AgentState
from sparl.networks import Networks, NormPlace
from sparl.replay import Batch


@dataclass(frozen=True)
class CrossQ(SAC):
    """SAC with batch norms and without target networks, for continuous actions (1902.05605).

    The defaults are the paper's, but for the critics' widths (there 2048 2048), the learning rate
    (there 1e-3) and the average of the policy (there none). Why is in docs/agents/crossq.md.
    """

    name: ClassVar[str] = "crossq"
    with_target: ClassVar[frozenset[str]] = frozenset()
    log_temperature_loss: ClassVar[bool] = True

    norm: Literal["none", "batch", "layer"] = "batch"
    norm_place: NormPlace = "behind"
    renorm_from: int | None = 0
    """Updates after which batch norms are renormalised: in losses, too, they come close to what
    running statistics give (1702.03275). The authors' code has 100000. None: never."""
    learning_rate: float = 3e-3
    beta1: float = 0.5
    policy_delay: int = 3
    """Critic updates to one update of the policy and of the temperature."""
    learning_starts: int = 5_000
    policy_average: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm == "none":
            raise BadValue(
                "norm is none: without target networks crossq needs norms, batch as its paper has "
                "them. Without norms take sac"
            )
        if self.tau != type(self).tau:
            raise BadValue(f"tau is {self.tau}: crossq has no target networks. Leave it out")

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, dict[str, Any]]:
        parts = super().networks(key, observation_size, action_size)
        return redrawn(key, parts, self.roles, lecun_normal)

    def update(
        self, state: AgentState, batch: Batch, key: UInt32[Array, " 2"]
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        inputs, next_inputs, next_log_prob, temperature, normal = drawn(state, batch, key)
        both = jnp.concatenate([inputs, next_inputs], axis=1)

        def critic_loss(critics: Networks) -> tuple[jax.Array, Any]:
            outputs, seen = self.by_batch(state, critics, both)
            q, next_q = jnp.split(outputs[:, 0], 2, axis=1)
            next_value = self.together(next_q) - temperature * next_log_prob
            following = batch.bootstrap * next_value
            error = q - stop_gradient(batch.reward + following)
            return 0.5 * jnp.sum(batch.mean(error**2)), (q, error, seen)

        state, loss, (q, error, seen) = state.step("critics", critic_loss)
        state = state.with_statistics("critics", seen)
        metrics = {"critic_loss": loss, "q_value": jnp.mean(q[0]), "temperature": temperature}
        metrics["td_error"] = jnp.mean(jnp.abs(error), axis=0)
        if "actor" not in state.due:
            return state, metrics
        state, of_policy = self.improve_policy(state, batch.observation.T, normal, temperature)
        return state, metrics | of_policy
