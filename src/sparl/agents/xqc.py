"""XQC: normalised critics that predict distributions (2509.25174, ICLR 2026).

SAC, made well conditioned. Every hidden layer is a linear one, a batch norm and a ReLU; inputs have
a batch norm, too. After every step the weights of each neuron are brought back to length 1. Two
critics give distributions over 101 returns from -5 to 5 and learn by cross-entropy from one target
distribution, which is that of the target critic whose mean is smaller. Rewards are divided by the
running deviation of the discounted return, so that values fit into these bounds. The pairs (s, a)
and (s', a') go through critics and target critics as one batch in training mode. Learning rates
fall to a tenth; the policy and the temperature are updated every third time.

Our reading, where the paper's text leaves it open: the action of s' is drawn from the policy in
evaluation mode, and the policy's loss sees the critics in evaluation mode, both as in CrossQ's
code. The temperature's learning rate is that of the networks. In front of a batch norm a bias has
no effect, and does not count towards the length of a neuron's weights; elsewhere it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, UInt32

from sparl import validation
from sparl.agents.common.annealing import Anneal
from sparl.agents.common.categorical import Atoms, cross_entropy
from sparl.agents.common.initial_weights import orthogonal, redrawn
from sparl.agents.sac import SAC, drawn
from sparl.errors import BadValue
from sparl.learner import AgentState
from sparl.networks import BatchNorm, Network, Networks, apply_all
from sparl.replay import Batch

LARGEST = 5.0
"""The largest return that a critic can predict, in deviations of the discounted return."""


@dataclass(frozen=True)
class XQC(SAC):
    """SAC with batch norms, weights of length 1 and categorical critics (2509.25174).

    The defaults are the paper's.
    """

    name: ClassVar[str] = "xqc"
    entropy_per_action: ClassVar[float] = 0.5
    metrics: ClassVar[Any] = SAC.metrics | {"reward_scale": "train/reward_scale"}

    hidden: tuple[int, ...] = (256, 256, 256, 256)
    critic_hidden: tuple[int, ...] = (512, 512, 512, 512)
    norm: Literal["none", "batch", "layer"] = "batch"
    learning_rate_schedule: Anneal = "linear"
    learning_rate_end: float = 0.1
    learning_starts: int = 5_000
    gradient_steps: int = 2
    policy_delay: int = 3
    target_entropy: float | None = None
    """Entropy that the temperature is trained for; if not given, minus half the actions'
    dimensions."""
    initial_temperature: float = 0.01
    bins: int = 101
    """Returns, evenly from -5 to 5 deviations, of which a critic gives the probabilities."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.at_least(2, bins=self.bins)
        if self.norm == "none":
            raise BadValue(
                "norm is none: weights of length 1 need norms behind them, batch as its paper has "
                "them. Without norms take sac"
            )

    @property
    def scales_rewards(self) -> bool:
        return True

    @property
    def atoms(self) -> Atoms:
        """The returns that critics give the probabilities of."""
        return Atoms(-LARGEST, LARGEST, self.bins)

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, dict[str, Any]]:
        parts = super().networks(key, observation_size, action_size)
        return redrawn(key, parts, self.roles, orthogonal)

    @property
    def critic_outputs(self) -> int:
        return self.bins

    @property
    def constraint(self) -> Any:
        return self.on_sphere

    def on_sphere(self, part: str, networks: Networks) -> Networks:
        """The networks with the weights of every neuron at length 1; a representation as it is."""
        if part not in self.roles:
            return networks
        return {name: unit_rows(network) for name, network in networks.items()}

    def q_value(
        self, critics: Networks, inputs: Float[Array, "obs_act batch"]
    ) -> Float[Array, " batch"]:
        return self.together(self.atoms.mean(jax.nn.softmax(apply_all(critics, inputs), axis=1)))

    def update(
        self, state: AgentState, batch: Batch, key: UInt32[Array, " 2"]
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        inputs, next_inputs, next_log_prob, temperature, normal = drawn(state, batch, key)
        # Norms go by the joint batch; of either half of it one set of critics gives the returns.
        rows = inputs.shape[1]
        next_first = jnp.concatenate([next_inputs, inputs], axis=1)
        next_logits, _ = self.by_batch(state, state.target("critics"), next_first, rows)
        next_p = self.one_of_two(jax.nn.softmax(next_logits, axis=1))
        discount = batch.bootstrap
        shift = batch.reward - discount * temperature * next_log_prob
        target = stop_gradient(self.atoms.projected(next_p, discount, shift))

        def critic_loss(critics: Networks) -> tuple[jax.Array, tuple[jax.Array, Networks]]:
            both = jnp.concatenate([inputs, next_inputs], axis=1)
            logits, seen = self.by_batch(state, critics, both, rows)
            return jnp.sum(batch.mean(cross_entropy(logits, target))), (logits, seen)

        state, loss, (logits, seen) = state.step("critics", critic_loss)
        state = state.with_statistics("critics", seen)
        q = self.atoms.mean(jax.nn.softmax(logits, axis=1))
        metrics = {"critic_loss": loss, "q_value": jnp.mean(q[0]), "temperature": temperature}
        metrics["td_error"] = jnp.mean(jnp.abs(q - self.atoms.mean(target)), axis=0)
        if "actor" in state.due:
            state, of_policy = self.improve_policy(state, batch.observation.T, normal, temperature)
            metrics |= of_policy
        return state.polyak(self.tau, "critics"), metrics

    def one_of_two(self, p: Float[Array, "critics bins batch"]) -> Float[Array, "bins batch"]:
        """The distribution that both critics give together: that of the smaller mean, or the mean
        distribution, as `pessimism` says."""
        if self.pessimism == "mean":
            return jnp.mean(p, axis=0)
        smaller = jnp.argmin(self.atoms.mean(p), axis=0)
        return jnp.take_along_axis(p, smaller[None, None], axis=0)[0]


def unit_rows(network: Network) -> Network:
    """The network with every neuron's incoming weights at length 1."""
    layers = [
        layer.unit_rows(with_bias=not isinstance(norm, BatchNorm))
        for layer, norm in zip(network.layers, network.norms, strict=True)
    ]
    return network.with_layers(layers)
