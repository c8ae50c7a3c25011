"""SAC: Soft Actor-Critic with a learned temperature (Haarnoja et al., 1812.05905).

An off-policy actor-critic for continuous actions: the policy is a Gaussian squashed by tanh, and
what is maximised is return plus temperature times entropy. Two critics, and the smaller of their
values wherever one is asked for. The temperature is trained so that the entropy stays near a
target.

The order within an update is that of the paper's algorithm 1: the critics (eq. 5), the policy
against the critics just updated (eq. 7), the temperature by the log-probabilities of that same
sample (eq. 18), the critics' targets. All of it with the temperature as it was before.

Arrays are feature-major, [features, batch]. Actions are in [-1, 1], whatever the environment's
bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt32
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.agent import Acting
from sparl.agents.common.ofenet import critic_inputs
from sparl.agents.common.twin_critics import TwinCriticAgent
from sparl.errors import BadValue
from sparl.learner import AgentState, random
from sparl.networks import Network, Networks
from sparl.replay import Batch

LOG_STD = (-20.0, 2.0)
"""Bounds of the logarithm of the policy's standard deviation, as in the authors' code."""


@dataclass(frozen=True)
class SAC(TwinCriticAgent):
    """Soft actor-critic, for continuous actions (1812.05905).

    The defaults are the paper's (its table 1).
    """

    name: ClassVar[str] = "sac"
    with_target: ClassVar[frozenset[str]] = frozenset({"critics"})
    metrics: ClassVar[Any] = {
        "critic_loss": "train/critic_loss",
        "q_value": "train/q_value",
        "actor_loss": "train/actor_loss",
        "entropy": "train/entropy",
        "temperature": "train/ent_coef",
    }

    entropy_per_action: ClassVar[float] = 1.0
    """Minus the entropy that is aimed at by default, for each number of an action."""
    log_temperature_loss: ClassVar[bool] = False
    """Whether the temperature's loss has its logarithm in place of itself."""

    target_entropy: float | None = None
    """Entropy that the temperature is trained for; if not given, minus the actions' dimensions."""
    initial_temperature: float = 1.0
    """Weight of the entropy in the first update."""
    ent_coef: float | None = None
    """The weight of the entropy in all updates; learned if not given."""
    policy_average: int = 0
    """K: each update of the policy moves an average of its weights by 1/K of the way to the newest
    (Polyak). Evaluations, saved policies and exports take the average; exploration and losses take
    the newest. 0: no average."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(initial_temperature=self.initial_temperature)
        validation.at_least(0, policy_average=self.policy_average)
        if self.ent_coef is not None:
            validation.positive(ent_coef=self.ent_coef)
            self._refuse_with_fixed_temperature()
        if not math.isfinite(self.target_entropy or 0.0):
            raise BadValue(f"target_entropy is {self.target_entropy}: it must be a finite number")

    def _refuse_with_fixed_temperature(self) -> None:
        for option in ("target_entropy", "initial_temperature"):
            if (value := getattr(self, option)) != getattr(type(self), option):
                raise BadValue(
                    f"{option} is {value}, which is for a temperature that is learned, and "
                    f"ent_coef is {self.ent_coef}: leave one of them out"
                )

    @property
    def averages_policy(self) -> bool:
        return self.policy_average > 0

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, dict[str, Any]]:
        """`actor`, `critics`, and `temperature`, whose one value is its logarithm.

        The actor's head gives the means in its first rows, then the logarithms of the standard
        deviations.
        """
        keys = jax.random.split(key, 3)
        logarithm = jnp.asarray(math.log(self.ent_coef or self.initial_temperature), jnp.float32)
        sizes = (observation_size, *self.hidden, 2 * action_size)
        return {
            "actor": {"actor": self.build(keys[0], sizes)},
            "critics": self.critics(keys[1:], observation_size, action_size),
            "temperature": {"log_temperature": logarithm},
        }

    def optimizer(self, part: str) -> optax.GradientTransformation:
        # Weights decay, if at all; the temperature does not.
        return optax.adam(self.learning_rate) if part == "temperature" else super().optimizer(part)

    def due(self, update: int) -> frozenset[str]:
        due = super().due(update)
        return due | {"temperature"} if "actor" in due and self.ent_coef is None else due

    def act(self, network: Acting, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        mean, _ = np.split(network(observation.T), 2)
        return np.tanh(mean).T

    def explore(
        self,
        network: Acting,
        observation: NDArray[np.float32],
        action_size: int,
        step: int,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        normal = rng.standard_normal((len(observation), action_size))
        mean, log_std = np.split(network(observation.T).T, 2, axis=1)
        # Called at every step of a run: these two take a third of the time of np.clip.
        log_std = np.minimum(np.maximum(log_std, LOG_STD[0]), LOG_STD[1])
        return np.tanh(mean + np.exp(log_std) * normal).astype(np.float32)

    def policy(self, networks: Networks) -> Network:
        """The actor's mean, squashed, without the rows of its standard deviations."""
        actor = networks["actor"]
        *hidden, head = actor.layers
        layers = (*hidden, head.first_rows(head.out_features // 2))
        return replace(actor, layers=layers, squash=True)

    def update(
        self, state: AgentState, batch: Batch, key: UInt32[Array, " 2"]
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        inputs, next_inputs, next_log_prob, temperature, normal = drawn(state, batch, key)
        next_q = self.q_value(state.target("critics"), next_inputs)
        next_value = next_q - temperature * next_log_prob
        target_q = batch.reward + batch.bootstrap * next_value

        def critic_loss(critics: Networks) -> tuple[jax.Array, tuple[jax.Array, Networks]]:
            outputs, seen = self.by_batch(state, critics, inputs)
            q = outputs[:, 0]
            return 0.5 * jnp.sum(batch.mean((q - target_q) ** 2)), (q, seen)

        state, loss, (q, seen) = state.step("critics", critic_loss)
        state = state.with_statistics("critics", seen)
        metrics = {"critic_loss": loss, "q_value": jnp.mean(q[0]), "temperature": temperature}
        metrics["td_error"] = jnp.mean(jnp.abs(q - target_q), axis=0)
        if "actor" in state.due:
            observation = batch.observation.T
            state, of_policy = self.improve_policy(state, observation, normal, temperature)
            metrics |= of_policy
        return state.polyak(self.tau, "critics"), metrics

    def improve_policy(
        self,
        state: AgentState,
        observation: Float[Array, "obs batch"],
        normal: Float[Array, "act batch"],
        temperature: Float[Array, ""],
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        """A step of the policy (eq. 7), then one of the temperature (eq. 18)."""
        critics = state.online("critics")

        def actor_loss(actor: Networks) -> tuple[jax.Array, tuple[jax.Array, Networks]]:
            (output,), seen = self.by_batch(state, actor, observation)
            action, log_prob = squashed(output, normal)
            q = self.q_value(critics, critic_inputs(state, observation, action))
            return jnp.mean(temperature * log_prob - q), (-jnp.mean(log_prob), seen)

        state, loss, (entropy, seen) = state.step("actor", actor_loss)
        state = state.with_statistics("actor", seen)
        if self.averages_policy:
            state = state.polyak(1.0 / self.policy_average, "actor")
        metrics = {"actor_loss": loss, "entropy": entropy}
        if "temperature" not in state.due:
            return state, metrics
        target_entropy = self.target_entropy
        if target_entropy is None:
            target_entropy = -self.entropy_per_action * len(normal)

        def temperature_loss(trained: dict[str, jax.Array]) -> tuple[jax.Array, None]:
            weight = trained["log_temperature"]
            weight = weight if self.log_temperature_loss else jnp.exp(weight)
            return weight * (entropy - target_entropy), None

        return state.step("temperature", temperature_loss)[0], metrics


class Drawn(NamedTuple):
    """What an update draws of a batch before it changes anything."""

    inputs: Float[Array, "obs_act batch"]
    """What critics read of (s, a)."""
    next_inputs: Float[Array, "obs_act batch"]
    """What they read of (s', a'), where a' is drawn from the policy in evaluation mode."""
    next_log_prob: Float[Array, " batch"]
    """The log-density of a'."""
    temperature: Float[Array, ""]
    normal: Float[Array, "act batch"]
    """Standard normal numbers for the policy's own step."""


def drawn(state: AgentState, batch: Batch, key: UInt32[Array, " 2"]) -> Drawn:
    """Draws the actions that follow, by the policy as it is."""
    action, next_observation = batch.action.T, batch.next_observation.T
    next_normal, normal = random.normal(key, (2, *action.shape))
    actor = state.online("actor")["actor"]
    next_action, next_log_prob = sample(actor, next_observation, next_normal)
    return Drawn(
        critic_inputs(state, batch.observation.T, action),
        critic_inputs(state, next_observation, next_action),
        next_log_prob,
        jnp.exp(state.online("temperature")["log_temperature"]),
        normal,
    )


def sample(
    actor: Network, observation: Float[Array, "obs batch"], normal: Float[Array, "act batch"]
) -> tuple[Float[Array, "act batch"], Float[Array, " batch"]]:
    """Actions of the policy in evaluation mode, and their log-densities: see `squashed`."""
    return squashed(actor(observation), normal)


def squashed(
    output: Float[Array, "two_act batch"], normal: Float[Array, "act batch"]
) -> tuple[Float[Array, "act batch"], Float[Array, " batch"]]:
    """Actions of the squashed Gaussian made from standard `normal` numbers, and their log-density.

    The density is that after tanh (appendix C of the paper). log(1 - tanh(u)^2) is written as
    2 (log 2 - u - softplus(-2 u)), which stays finite where tanh rounds to 1.
    """
    mean, log_std = jnp.split(output, 2)
    log_std = jnp.clip(log_std, *LOG_STD)
    u = mean + jnp.exp(log_std) * normal
    gaussian = -0.5 * normal**2 - log_std - 0.5 * math.log(2 * math.pi)
    squashing = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    return jnp.tanh(u), jnp.sum(gaussian - squashing, axis=0)
