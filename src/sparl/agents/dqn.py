"""DQN: deep Q-learning (Mnih et al., 1312.5602; Nature 518, 2015), for discrete actions.

One network gives the value of every choice; a target network, which follows slowly, the value that
bootstraps it. As in the Nature paper, with two changes that are common today and can be undone:
the online network chooses what the target network values (double DQN, 1509.06461), and the target
moves a little at every update (Polyak) instead of being copied from time to time.

Arrays are feature-major, [features, batch].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, UInt32
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.agent import Acting, Actions, Agent
from sparl.agents.common.discrete import chosen, greedy
from sparl.agents.common.off_policy import OffPolicyAgent
from sparl.learner import AgentState
from sparl.networks import Networks
from sparl.replay import Batch


@dataclass(frozen=True)
class DQN(OffPolicyAgent):
    """Deep Q-learning, for discrete actions (1312.5602).

    CartPole-v1 wants 3-step returns: n_step 3, learning_rate 2.5e-4.
    """

    name: ClassVar[str] = "dqn"
    actions: ClassVar[Actions] = "discrete"
    acting: ClassVar[tuple[str, str]] = ("q", "q")
    roles: ClassVar[Any] = {"q": "critic"}
    with_target: ClassVar[frozenset[str]] = frozenset({"q"})
    metrics: ClassVar[Any] = {"loss": "train/loss", "q_value": "train/q_value"}

    learning_rate: float = 1e-4
    """Adam's step size."""
    batch_size: int = 128
    """Transitions in one update."""
    double: bool = True
    """The online network chooses the next action, the target network values it (1509.06461)."""
    target_update_interval: int = 1
    """Updates between two moves of the target network; with --tau 1 it is copied then, as in the
    Nature paper."""
    epsilon_start: float = 1.0
    """Share of random actions at the first step."""
    epsilon_end: float = 0.05
    """Share of random actions from step --epsilon-steps on; it falls linearly until then."""
    epsilon_steps: int = 10_000
    """Environment steps, counted from the first of the run, until --epsilon-end is reached."""
    learning_starts: int = 1_000
    """Steps of uniformly random actions, without updates, before learning begins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(target_update_interval=self.target_update_interval)
        validation.at_least(0, epsilon_steps=self.epsilon_steps)
        validation.fractions(epsilon_start=self.epsilon_start, epsilon_end=self.epsilon_end)

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, Networks]:
        """One network with an output for each of the `action_size` choices."""
        return {"q": {"q": self.build(key, (observation_size, *self.hidden, action_size))}}

    def due(self, update: int) -> frozenset[str]:
        follows = (update + 1) % self.target_update_interval == 0
        return frozenset({"q", "target"}) if follows else frozenset({"q"})

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
        """Epsilon-greedy: a random choice with a probability that falls, else the greedy one."""
        random = rng.random(len(observation)) < self.epsilon(step)
        chosen = np.empty(len(observation), np.int64)
        chosen[random] = rng.integers(action_size, size=int(random.sum()))
        if not random.all():
            chosen[~random] = self.act(network, observation[~random])
        return chosen

    def epsilon(self, step: int) -> float:
        """The share of random actions at an environment step."""
        done = min(1.0, step / self.epsilon_steps) if self.epsilon_steps else 1.0
        return self.epsilon_start + done * (self.epsilon_end - self.epsilon_start)

    def continued(self, step: int) -> Agent:
        left = max(0, self.epsilon_steps - step)
        shifted = replace(self, epsilon_start=self.epsilon(step), epsilon_steps=left)
        return super(DQN, shifted).continued(step)

    def update(
        self, state: AgentState, batch: Batch, key: UInt32[Array, " 2"]
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        online, target = state.online("q"), state.target("q")
        observation, action = batch.observation.T, batch.action[:, 0].astype(jnp.int32)
        next_observation = batch.next_observation.T

        next_values = target["q"](next_observation)
        chooser = online["q"](next_observation) if self.double else next_values
        next_q = chosen(next_values, jnp.argmax(chooser, axis=0).astype(jnp.int32))
        target_q = batch.reward + batch.bootstrap * next_q

        def huber_loss(networks: Networks) -> tuple[jax.Array, tuple[jax.Array, Networks]]:
            # The Nature paper clips the error to [-1, 1]: the gradient of this loss.
            (outputs,), seen = self.by_batch(state, networks, observation)
            q = chosen(outputs, action)
            return batch.mean(optax.losses.huber_loss(q, target_q)), (q, seen)

        state, loss, (q, seen) = state.step("q", huber_loss)
        state = state.with_statistics("q", seen)
        if "target" in state.due:
            state = state.polyak(self.tau, "q")
        return state, {"loss": loss, "q_value": jnp.mean(q), "td_error": jnp.abs(q - target_q)}
