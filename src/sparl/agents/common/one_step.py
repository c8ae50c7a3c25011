"""What agents share that learn from each transition once, when it is new; for discrete actions.

Two networks: the actor, whose outputs are the logits of a policy pi(a|s), and a critic of v(s).
Every `batch_size` environment steps there is one update, from the transitions of those steps alone.
What an agent adds is the critic's loss, and which critic judges the actor; its hyperparameters
carry both: see `actor_critic` and `primal_dual`.

Pure functions over networks made of layers; how the layers are stored is nobody's business here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
from sparl.agents.common.config import Actions, AgentConfig, adam, chosen
from sparl.learner import Descend, Part, Structure
from sparl.networks import Network, Networks
from sparl.replay import Batch

ACTIONS: Actions = "discrete"
ACTING: tuple[str, str] = ("actor", "actor")
METRICS: tuple[str, ...] = ("value_loss", "value", "policy_loss", "advantage", "entropy")
WITH_TARGET: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OnPolicyConfig(AgentConfig, ABC):
    """Hyperparameters of agents that learn from the newest transitions alone, each once."""

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

    def rate_of(self, part: str) -> float:
        return self.value_learning_rate if part == "critic" else self.learning_rate

    @property
    def steps_per_update(self) -> int:
        return self.batch_size

    @abstractmethod
    def critic_loss(
        self, critic: Network, batch: Batch
    ) -> tuple[Float[Array, ""], Float[Array, " batch"]]:
        """What the critic descends, and the value of every state of the batch."""

    @abstractmethod
    def judge(self, before: Network, after: Network) -> Network:
        """Whose TD errors the actor ascends: the critic's before its move, or after it."""


def init(
    config: OnPolicyConfig, key: jax.Array, observation_size: int, action_size: int
) -> dict[str, Networks]:
    """Two parts of one dense network: `actor`, a logit for each of the `action_size` choices, and
    `critic`, the value of a state."""
    actor_key, critic_key = jax.random.split(key)
    sizes = (observation_size, *config.hidden)
    return {
        "actor": {"actor": config.built(actor_key, (*sizes, action_size))},
        "critic": {"critic": config.built(critic_key, (*sizes, 1))},
    }


def optimizers(config: OnPolicyConfig) -> dict[str, optax.GradientTransformation]:
    return {part: adam(config, part) for part in ("actor", "critic")}


def moving(config: OnPolicyConfig, updates: int) -> frozenset[str]:
    """Every update changes both."""
    return frozenset({"actor", "critic"})


def act(network: Callable[[Any], Any], observation: NDArray[np.float32]) -> NDArray[np.integer]:
    """The likeliest choices: [batch, obs] to [batch]."""
    return network(observation.T).argmax(axis=0)


def explore(
    config: OnPolicyConfig,
    network: Callable[[Any], Any],
    observation: NDArray[np.float32],
    action_size: int,
    step: int,
    rng: np.random.Generator,
) -> int:
    """A choice drawn from the policy."""
    # The largest of the logits with Gumbel noise added is distributed as their softmax.
    return int(np.argmax(network(observation[:, None])[:, 0] + rng.gumbel(size=action_size)))


def policy(networks: Networks) -> Network:
    """The network that is saved when training is over: the logits of the choices."""
    return networks["actor"]


def update(
    config: OnPolicyConfig,
    structures: dict[str, Structure],
    parts: dict[str, Part],
    moves: frozenset[str],
    batch: Batch,
    key: UInt32[Array, " 2"],
    descend: Descend,
) -> tuple[dict[str, Part], dict[str, jax.Array]]:
    """One update of the critic by the config's loss, then one of the actor: it ascends
    log pi(a|s) times the TD error by the critic that the config has it judged by."""
    before = structures["critic"].online(parts["critic"])

    def value_loss(networks: Networks) -> tuple[jax.Array, jax.Array]:
        return config.critic_loss(networks["critic"], batch)

    (loss, value), gradient = jax.value_and_grad(value_loss, has_aux=True, allow_int=True)(before)
    moved = {"critic": descend("critic", parts["critic"], gradient)}
    metrics = {"value_loss": loss, "value": jnp.mean(value)}

    after = structures["critic"].online(moved["critic"])
    advantage = td_error(config.judge(before["critic"], after["critic"]), batch)
    observation, action = batch.observation.T, batch.action[:, 0].astype(jnp.int32)

    def policy_loss(networks: Networks) -> tuple[jax.Array, jax.Array]:
        log_pi = jax.nn.log_softmax(networks["actor"](observation), axis=0)
        entropy = -jnp.mean(jnp.sum(jnp.exp(log_pi) * log_pi, axis=0))
        gain = jnp.mean(chosen(log_pi, action) * advantage)
        return -gain - config.entropy_bonus * entropy, entropy

    actor = structures["actor"].online(parts["actor"])
    (loss, entropy), gradient = jax.value_and_grad(policy_loss, has_aux=True, allow_int=True)(actor)
    moved["actor"] = descend("actor", parts["actor"], gradient)
    metrics |= {"policy_loss": loss, "advantage": jnp.mean(advantage), "entropy": entropy}
    return moved, metrics


def td_error(critic: Network, batch: Batch) -> Float[Array, " batch"]:
    """delta = r + gamma v(s') - v(s), without v(s') where the episode ended by itself."""
    # A time limit does not end the value (truncation).
    following = batch.discount * (1.0 - batch.terminated) * values(critic, batch.next_observation)
    return batch.reward + following - values(critic, batch.observation)


def values(critic: Network, observation: Float[Array, "batch obs"]) -> Float[Array, " batch"]:
    """v(s) of each observation."""
    return critic(observation.T)[0]
