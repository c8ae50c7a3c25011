"""An agent outside of the package, as a user writes one: DDPG (1509.02971) with one critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from sparl.agents import OffPolicyAgent


@dataclass(frozen=True)
class ToyAgent(OffPolicyAgent):
    """A deterministic policy that climbs the value of one critic."""

    name: ClassVar[str] = "toy"
    actions: ClassVar[Any] = "continuous"
    roles: ClassVar[Any] = {"actor": "actor", "critic": "critic"}
    with_target: ClassVar[frozenset[str]] = frozenset({"actor", "critic"})
    metrics: ClassVar[Any] = {"critic_loss": "train/critic_loss", "loss": "train/actor_loss"}

    toy_noise: float = 0.1
    """Standard deviation of the toy's noise."""
    n: int = 1
    """Has the name of an internal field of RNM."""

    def networks(self, key: Any, observation_size: int, action_size: int) -> Any:
        keys = jax.random.split(key)
        actor = self.build(keys[0], (observation_size, *self.hidden, action_size), squash=True)
        critic = self.build(keys[1], (observation_size + action_size, *self.hidden, 1))
        return {"actor": {"actor": actor}, "critic": {"critic": critic}}

    def act(self, network: Any, observation: Any) -> Any:
        return network(observation.T).T

    def explore(self, network: Any, observation: Any, action_size: int, step: int, rng: Any) -> Any:
        noise = self.toy_noise * rng.standard_normal((len(observation), action_size))
        action = self.act(network, observation)
        return np.clip(action + noise, -1.0, 1.0).astype(np.float32)

    def update(self, state: Any, batch: Any, key: Any) -> Any:
        observation, following = batch.observation.T, batch.next_observation.T
        next_action = state.target("actor")["actor"](following)
        next_q = state.target("critic")["critic"](jnp.concatenate([following, next_action]))[0]
        target_q = batch.reward + batch.discount * (1.0 - batch.terminated) * next_q

        def critic_loss(critic: Any) -> Any:
            q = critic["critic"](jnp.concatenate([observation, batch.action.T]))[0]
            return batch.mean((q - target_q) ** 2), q

        state, critic_error, q = state.step("critic", critic_loss)
        critic = state.online("critic")["critic"]

        def actor_loss(actor: Any) -> Any:
            action = actor["actor"](observation)
            return -jnp.mean(critic(jnp.concatenate([observation, action]))[0]), None

        state, loss, _ = state.step("actor", actor_loss)
        state = state.polyak(self.tau, "actor", "critic")
        metrics = {"critic_loss": critic_error, "loss": loss}
        return state, metrics | {"td_error": jnp.abs(q - target_q)}
