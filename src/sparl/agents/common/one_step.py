"""One-step policy gradients for discrete actions: what `actor_critic` and `primal_dual` share.

Two networks: the actor, whose outputs are the logits of a policy pi(a|s), and a critic of v(s).
Every `batch_size` environment steps there is one update, from the transitions of those steps alone.
What an agent adds is the critic's loss, how much of its gradient goes through the next state's
value, and which critic judges the actor.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.agent import Acting, Actions
from sparl.agents.common.discrete import greedy
from sparl.agents.common.distribution import draw, log_probability
from sparl.agents.common.on_policy import OnPolicyAgent
from sparl.learner import AgentState
from sparl.networks import Network, Networks
from sparl.replay import Batch


@dataclass(frozen=True)
class OneStepAgent(OnPolicyAgent):
    """Hyperparameters of agents that learn from each transition once, when it is new."""

    actions: ClassVar[Actions] = "discrete"
    roles: ClassVar[Any] = {"actor": "actor", "critic": "critic"}
    metrics: ClassVar[Any] = {
        "value_loss": "train/value_loss",
        "value": "train/value",
        "policy_loss": "train/policy_gradient_loss",
        "advantage": "train/advantage",
        "entropy": "train/entropy",
    }

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers, of the policy's network and of the value's."""
    learning_rate: float = 3e-4
    """Adam's step size for the policy."""
    value_learning_rate: float = 3e-3
    """Adam's step size for the value."""
    batch_size: int = 1
    """Environment steps between two updates, whose transitions make one update together."""
    entropy_bonus: float = 0.0
    """Weight of the policy's entropy in what the actor maximises."""
    learning_starts: int = 0
    """Steps of uniformly random actions, without updates, before learning begins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(value_learning_rate=self.value_learning_rate)
        validation.at_least(0, entropy_bonus=self.entropy_bonus)

    @property
    def next_value_share(self) -> float:
        """Share of the gradient through v(s') that the critic's step takes: all, or 0 for TD's."""
        return 1.0

    @abstractmethod
    def critic_loss(
        self, value: Float[Array, " batch"], advantage: Float[Array, " batch"], batch: Batch
    ) -> Float[Array, ""]:
        """What the critic descends, by the value of every state and its TD error."""

    @abstractmethod
    def judge(self, before: Network, after: Network) -> Network:
        """Whose TD errors the actor ascends: the critic's before its step, or after it."""

    def learning_rate_of(self, part: str) -> float:
        return self.value_learning_rate if part == "critic" else self.learning_rate

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, Networks]:
        """`actor`, a logit for each of the `action_size` choices, and `critic`, a state's value."""
        actor_key, critic_key = jax.random.split(key)
        sizes = (observation_size, *self.hidden)
        return {
            "actor": {"actor": self.build(actor_key, (*sizes, action_size))},
            "critic": {"critic": self.build(critic_key, (*sizes, 1))},
        }

    def act(self, network: Acting, observation: NDArray[np.float32]) -> NDArray[np.integer]:
        return greedy(network, observation)

    def explore(
        self,
        network: Acting,
        observation: NDArray[np.float32],
        action_size: int,
        step: int,
        rng: np.random.Generator,
    ) -> NDArray[np.integer]:
        """Choices drawn from the policy."""
        return draw(network(observation.T).T, rng)

    def update(
        self, state: AgentState, batch: Batch, key: UInt32[Array, " 2"]
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        """The critic descends its loss; then the actor ascends log pi(a|s) times the TD error."""
        before = state.online("critic")["critic"]

        def value_loss(networks: Networks) -> tuple[jax.Array, tuple[jax.Array, Networks]]:
            both = jnp.concatenate([batch.observation, batch.next_observation]).T
            outputs, seen = self.by_batch(state, networks, both)
            value, next_value = jnp.split(outputs[0, 0], 2)
            held = jax.lax.stop_gradient(next_value)
            next_value = held + self.next_value_share * (next_value - held)
            advantage = td_error(value, next_value, batch)
            return self.critic_loss(value, advantage, batch), (value, seen)

        state, loss, (value, seen) = state.step("critic", value_loss)
        state = state.with_statistics("critic", seen)
        metrics = {"value_loss": loss, "value": jnp.mean(value)}
        critic = self.judge(before, state.online("critic")["critic"])
        value, next_value = (critic(x.T)[0] for x in (batch.observation, batch.next_observation))
        advantage = td_error(value, next_value, batch)
        observation = batch.observation.T

        def policy_loss(networks: Networks) -> tuple[jax.Array, tuple[jax.Array, Networks]]:
            (logits,), seen = self.by_batch(state, networks, observation)
            log_pi, entropy = log_probability(logits, None, batch.action)
            gain = jnp.mean(log_pi * advantage)
            return -gain - self.entropy_bonus * entropy, (entropy, seen)

        state, loss, (entropy, seen) = state.step("actor", policy_loss)
        state = state.with_statistics("actor", seen)
        metrics |= {"policy_loss": loss, "advantage": jnp.mean(advantage), "entropy": entropy}
        return state, metrics


def td_error(
    value: Float[Array, " batch"], next_value: Float[Array, " batch"], batch: Batch
) -> Float[Array, " batch"]:
    """delta = r + gamma v(s') - v(s), without v(s') where the episode ended by itself."""
    return batch.reward + batch.bootstrap * next_value - value
