"""SAC: Soft Actor-Critic with a learned temperature (Haarnoja et al., 1812.05905).

An off-policy actor-critic for continuous actions: the policy is a Gaussian squashed by tanh, and
what is maximised is return plus temperature times entropy. Two critics, and the smaller of their
values wherever one is asked for. The temperature is trained so that the entropy stays near a
target.

The order within an update is that of the paper's algorithm 1: the critics (eq. 5), the policy
against the critics just updated (eq. 7), the temperature by the log-probabilities of that same
sample (eq. 18), the critics' targets. All of it with the temperature as it was before.

Pure functions over networks made of layers; how the layers are stored is nobody's business here.
Actions are in [-1, 1] throughout, whatever the environment's bounds.
"""

from __future__ import annotations

import math
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
from sparl.errors import BadValue
from sparl.learner import Descend, Part, Structure, random
from sparl.networks import Network, Networks, all_of
from sparl.replay import Batch

ACTIONS: Actions = "continuous"
ACTING: tuple[str, str] = ("actor", "actor")
METRICS: tuple[str, ...] = ("critic_loss", "q_value", "actor_loss", "entropy", "temperature")
WITH_TARGET = frozenset({"critics"})

LOG_STD = (-20.0, 2.0)
"""Bounds of the logarithm of the policy's standard deviation, as in the authors' code."""


@dataclass(frozen=True)
class SACConfig(ActorCriticConfig):
    """Hyperparameters of SAC; the defaults are the paper's (its table 1)."""

    target_entropy: float | None = None
    """Entropy that the temperature is trained for; if not given, minus the actions' dimensions."""
    initial_temperature: float = 1.0
    """Weight of the entropy in the first update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(initial_temperature=self.initial_temperature)
        if not math.isfinite(self.target_entropy or 0.0):
            raise BadValue(f"target-entropy is {self.target_entropy}: it must be a finite number")


def init(
    config: SACConfig, key: jax.Array, observation_size: int, action_size: int
) -> dict[str, dict[str, Any]]:
    """`actor` and `critics` (`critic_0`, `critic_1`) of dense networks, and `temperature`.

    The actor's head gives the means in its first rows, then the logarithms of the standard
    deviations. `temperature` has no network: its one value is the logarithm of the temperature.
    """
    actor_key, *critic_keys = jax.random.split(key, 3)
    critic_sizes = config.critic_sizes(observation_size, action_size)
    return {
        "actor": {
            "actor": config.built(actor_key, (observation_size, *config.hidden, 2 * action_size))
        },
        "critics": {
            f"critic_{i}": config.built(k, critic_sizes) for i, k in enumerate(critic_keys)
        },
        "temperature": {
            "log_temperature": jnp.asarray(math.log(config.initial_temperature), jnp.float32)
        },
    }


def optimizers(config: SACConfig) -> dict[str, optax.GradientTransformation]:
    """Weights decay, if at all; the temperature does not."""
    return {
        "actor": adam(config, "actor"),
        "critics": adam(config, "critics"),
        "temperature": optax.adam(config.learning_rate),
    }


def moving(config: SACConfig, updates: int) -> frozenset[str]:
    """Every update changes every part."""
    return frozenset({"actor", "critics", "temperature"})


def act(network: Callable[[Any], Any], observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """The policy's mean, squashed: [batch, obs] to [batch, act] in [-1, 1]."""
    mean, _ = np.split(network(observation.T), 2)
    return np.tanh(mean).T


def explore(
    config: SACConfig,
    network: Callable[[Any], Any],
    observation: NDArray[np.float32],
    action_size: int,
    step: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """A sample of the policy for one observation: [obs] to [act]."""
    normal = rng.standard_normal(action_size)
    mean, log_std = np.split(network(observation[:, None])[:, 0], 2)
    return np.tanh(mean + np.exp(np.clip(log_std, *LOG_STD)) * normal).astype(np.float32)


def policy(networks: Networks) -> Network:
    """The network that is saved when training is over: the actor's mean, squashed."""
    actor = networks["actor"]
    *hidden, head = actor.layers
    layers = (*hidden, head.first_rows(head.out_features // 2))
    return Network(layers, actor.norms, actor.wiring, squash=True)


def update(
    config: SACConfig,
    structures: dict[str, Structure],
    parts: dict[str, Part],
    moves: frozenset[str],
    batch: Batch,
    key: UInt32[Array, " 2"],
    descend: Descend,
) -> tuple[dict[str, Part], dict[str, jax.Array]]:
    """One update of everything; answers with all parts and with metrics."""
    actor = structures["actor"].online(parts["actor"])
    critics = structures["critics"].online(parts["critics"])
    target_critics = structures["critics"].target(parts["critics"])
    log_temperature = structures["temperature"].online(parts["temperature"])
    temperature = jnp.exp(log_temperature["log_temperature"])

    observation, action = batch.observation.T, batch.action.T
    inputs = joined(structures, parts, observation, action)
    next_observation = batch.next_observation.T
    next_normal, normal = random.normal(key, (2, *action.shape))
    next_action, next_log_prob = sampled(actor["actor"], next_observation, next_normal)
    next_q = smallest_q(target_critics, joined(structures, parts, next_observation, next_action))
    next_value = next_q - temperature * next_log_prob
    # `terminated` is the environment's own end; a time limit does not end the value (truncation).
    target_q = batch.reward + batch.discount * (1.0 - batch.terminated) * next_value

    def critic_loss(critics: Networks) -> tuple[jax.Array, jax.Array]:
        q = all_of(critics, inputs)[:, 0]
        return 0.5 * jnp.sum(batch.mean((q - target_q) ** 2)), q

    (loss, q), gradient = jax.value_and_grad(critic_loss, has_aux=True, allow_int=True)(critics)
    td_error = jnp.mean(jnp.abs(q - target_q), axis=0)
    metrics = {"critic_loss": loss, "q_value": jnp.mean(q[0]), "td_error": td_error}
    metrics["temperature"] = temperature
    moved = {"critics": descend("critics", parts["critics"], gradient)}
    critics = structures["critics"].online(moved["critics"])

    def actor_loss(actor: Networks) -> tuple[jax.Array, jax.Array]:
        policy_action, log_prob = sampled(actor["actor"], observation, normal)
        q = smallest_q(critics, joined(structures, parts, observation, policy_action))
        return jnp.mean(temperature * log_prob - q), -jnp.mean(log_prob)

    (loss, entropy), gradient = jax.value_and_grad(actor_loss, has_aux=True, allow_int=True)(actor)
    metrics |= {"actor_loss": loss, "entropy": entropy}
    moved["actor"] = descend("actor", parts["actor"], gradient)

    target_entropy = -len(action) if config.target_entropy is None else config.target_entropy

    def temperature_loss(trained: dict[str, jax.Array]) -> jax.Array:
        return jnp.exp(trained["log_temperature"]) * (entropy - target_entropy)

    gradient = jax.grad(temperature_loss)(log_temperature)
    moved["temperature"] = descend("temperature", parts["temperature"], gradient)
    moved["critics"] = polyak(moved["critics"], config.tau)
    return moved, metrics


def sampled(
    actor: Network, observation: Float[Array, "obs batch"], normal: Float[Array, "act batch"]
) -> tuple[Float[Array, "act batch"], Float[Array, " batch"]]:
    """Actions of the squashed Gaussian made from standard `normal` numbers, and their log-density.

    The density is that after tanh (appendix C of the paper). log(1 - tanh(u)^2) is written as
    2 (log 2 - u - softplus(-2 u)), which stays finite where tanh rounds to 1.
    """
    mean, log_std = jnp.split(actor(observation), 2)
    log_std = jnp.clip(log_std, *LOG_STD)
    u = mean + jnp.exp(log_std) * normal
    gaussian = -0.5 * normal**2 - log_std - 0.5 * math.log(2 * math.pi)
    squashing = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    return jnp.tanh(u), jnp.sum(gaussian - squashing, axis=0)
