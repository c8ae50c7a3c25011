"""TD3: Twin Delayed Deep Deterministic policy gradient (Fujimoto et al., 1802.09477).

An off-policy actor-critic for continuous actions: two critics and the smaller of their targets
(clipped double Q-learning), noise on the target action (target policy smoothing), and a policy
and *all* targets that move only every `policy_delay` critic updates.

Pure functions over networks made of layers; how the layers are stored is nobody's business here.
Actions are in [-1, 1] throughout, whatever the environment's bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt32
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.common.config import Actions, ActorCriticConfig, adam, polyak, smallest_q
from sparl.agents.common.ofenet import joined
from sparl.learner import Descend, Part, Structure, random
from sparl.networks import Network, Networks, all_of
from sparl.replay import Batch

ACTIONS: Actions = "continuous"
ACTING: tuple[str, str] = ("actor", "actor")
METRICS: tuple[str, ...] = ("critic_loss", "q_value", "actor_loss")
WITH_TARGET = frozenset({"actor", "critics"})


@dataclass(frozen=True)
class TD3Config(ActorCriticConfig):
    """Hyperparameters of TD3; the defaults are those of the RNM paper's study (2602.14578)."""

    policy_noise: float = 0.2
    """Standard deviation of the noise on the target action (actions are in [-1, 1])."""
    noise_clip: float = 0.5
    """Bound on the absolute value of that noise."""
    policy_delay: int = 2
    """Critic updates to one update of the policy and of all targets."""
    exploration_noise: float = 0.1
    """Standard deviation of the noise on actions taken while training."""
    learning_starts: int = 25_000
    """Steps of uniformly random actions, without updates, before learning begins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(policy_delay=self.policy_delay)
        validation.at_least(
            0,
            policy_noise=self.policy_noise,
            noise_clip=self.noise_clip,
            exploration_noise=self.exploration_noise,
        )


def init(
    config: TD3Config, key: jax.Array, observation_size: int, action_size: int
) -> dict[str, Networks]:
    """Dense networks of both parts: `actor`, and `critics` with `critic_0` and `critic_1`."""
    actor_key, *critic_keys = jax.random.split(key, 3)
    critic_sizes = config.critic_sizes(observation_size, action_size)
    return {
        "actor": {
            "actor": config.built(
                actor_key, (observation_size, *config.hidden, action_size), squash=True
            )
        },
        "critics": {
            f"critic_{i}": config.built(k, critic_sizes) for i, k in enumerate(critic_keys)
        },
    }


def optimizers(config: TD3Config) -> dict[str, optax.GradientTransformation]:
    return {part: adam(config, part) for part in ("actor", "critics")}


def moving(config: TD3Config, updates: int) -> frozenset[str]:
    """The parts that update number `updates` (from 0) changes."""
    delayed = (updates + 1) % config.policy_delay == 0
    return frozenset({"actor", "critics"}) if delayed else frozenset({"critics"})


def act(network: Callable[[Any], Any], observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """The policy's own actions, without noise: [batch, obs] to [batch, act] in [-1, 1]."""
    return network(observation.T).T


def explore(
    config: TD3Config,
    network: Callable[[Any], Any],
    observation: NDArray[np.float32],
    action_size: int,
    step: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The policy's action under Gaussian noise, for one observation: [obs] to [act]."""
    disturbance = config.exploration_noise * rng.standard_normal(action_size)
    action = act(network, observation[None])[0]
    return np.clip(action + disturbance, -1.0, 1.0).astype(np.float32)


def policy(networks: Networks) -> Network:
    """The network that is saved when training is over: the actor."""
    return networks["actor"]


def update(
    config: TD3Config,
    structures: dict[str, Structure],
    parts: dict[str, Part],
    moves: frozenset[str],
    batch: Batch,
    key: UInt32[Array, " 2"],
    descend: Descend,
) -> tuple[dict[str, Part], dict[str, jax.Array]]:
    """One update of the parts in `moves`; answers with those and with metrics.

    The critics always move. With `actor` in `moves` the policy takes a step against the critics
    just updated, and all targets follow.
    """
    target_actor = structures["actor"].target(parts["actor"])
    target_critics = structures["critics"].target(parts["critics"])

    observation, action = batch.observation.T, batch.action.T
    inputs = joined(structures, parts, observation, action)
    next_observation = batch.next_observation.T
    next_action = smoothed(config, target_actor["actor"], next_observation, key)
    next_q = smallest_q(target_critics, joined(structures, parts, next_observation, next_action))
    # `terminated` is the environment's own end; a time limit does not end the value (truncation).
    target_q = batch.reward + batch.discount * (1.0 - batch.terminated) * next_q

    def critic_loss(critics: Networks) -> tuple[jax.Array, jax.Array]:
        q = all_of(critics, inputs)[:, 0]
        return jnp.sum(batch.mean((q - target_q) ** 2)), q

    critics = structures["critics"].online(parts["critics"])
    (loss, q), gradient = jax.value_and_grad(critic_loss, has_aux=True, allow_int=True)(critics)
    td_error = jnp.mean(jnp.abs(q - target_q), axis=0)
    metrics = {"critic_loss": loss, "q_value": jnp.mean(q[0]), "td_error": td_error}
    moved = {"critics": descend("critics", parts["critics"], gradient)}
    if "actor" not in moves:
        return moved, metrics

    critics = structures["critics"].online(moved["critics"])
    actor = structures["actor"].online(parts["actor"])

    def actor_loss(actor: Networks) -> jax.Array:
        policy_action = actor["actor"](observation)
        return -jnp.mean(critics["critic_0"](joined(structures, parts, observation, policy_action)))

    metrics["actor_loss"], gradient = jax.value_and_grad(actor_loss, allow_int=True)(actor)
    moved["actor"] = descend("actor", parts["actor"], gradient)
    return {name: polyak(part, config.tau) for name, part in moved.items()}, metrics


def smoothed(
    config: TD3Config,
    target_actor: Network,
    observation: Float[Array, "obs batch"],
    key: UInt32[Array, " 2"],
) -> Float[Array, "act batch"]:
    """The target policy's action under clipped noise (target policy smoothing)."""
    action = target_actor(observation)
    smoothing = config.policy_noise * random.normal(key, action.shape)
    smoothing = jnp.clip(smoothing, -config.noise_clip, config.noise_clip)
    return jnp.clip(action + smoothing, -1.0, 1.0)
