"""DQN: deep Q-learning (Mnih et al., 1312.5602; Nature 518, 2015), for discrete actions.

One network gives the value of every choice; a target network, which follows slowly, the value that
bootstraps it. As in the Nature paper, with two changes that are common today and can be undone:
the online network chooses what the target network values (double DQN, 1509.06461), and the target
moves a little at every update (Polyak) instead of being copied from time to time.

Pure functions over networks made of layers; how the layers are stored is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, UInt32
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.common.config import Actions, AgentConfig, OffPolicyConfig, adam, chosen, polyak
from sparl.learner import Descend, Part, Structure
from sparl.networks import Network, Networks
from sparl.replay import Batch

ACTIONS: Actions = "discrete"
ACTING: tuple[str, str] = ("q", "q")
METRICS: tuple[str, ...] = ("loss", "q_value")
WITH_TARGET = frozenset({"q"})


@dataclass(frozen=True)
class DQNConfig(OffPolicyConfig):
    """Hyperparameters of DQN. CartPole-v1 wants 3-step returns: n_step 3, learning_rate 2.5e-4."""

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

    def continued(self, step: int) -> AgentConfig:
        left = max(0, self.epsilon_steps - step)
        shifted = replace(self, epsilon_start=epsilon(self, step), epsilon_steps=left)
        return super(DQNConfig, shifted).continued(step)


def init(
    config: DQNConfig, key: jax.Array, observation_size: int, action_size: int
) -> dict[str, Networks]:
    """One part, `q`, with one dense network: an output for each of the `action_size` choices."""
    return {"q": {"q": config.built(key, (observation_size, *config.hidden, action_size))}}


def optimizers(config: DQNConfig) -> dict[str, optax.GradientTransformation]:
    return {"q": adam(config, "q")}


def moving(config: DQNConfig, updates: int) -> frozenset[str]:
    """`q` always; `target` as well where update number `updates` (from 0) moves the target."""
    follows = (updates + 1) % config.target_update_interval == 0
    return frozenset({"q", "target"}) if follows else frozenset({"q"})


def act(network: Callable[[Any], Any], observation: NDArray[np.float32]) -> NDArray[np.integer]:
    """The choices of greatest value: [batch, obs] to [batch]."""
    return network(observation.T).argmax(axis=0)


def explore(
    config: DQNConfig,
    network: Callable[[Any], Any],
    observation: NDArray[np.float32],
    action_size: int,
    step: int,
    rng: np.random.Generator,
) -> int:
    """Epsilon-greedy: a random choice with a probability that falls, else the greedy one."""
    if rng.random() < epsilon(config, step):
        return int(rng.integers(action_size))
    return int(act(network, observation[None])[0])


def epsilon(config: DQNConfig, step: int) -> float:
    """The share of random actions at an environment step."""
    done = min(1.0, step / config.epsilon_steps) if config.epsilon_steps else 1.0
    return config.epsilon_start + done * (config.epsilon_end - config.epsilon_start)


def policy(networks: Networks) -> Network:
    """The network that is saved when training is over: the values of the choices."""
    return networks["q"]


def update(
    config: DQNConfig,
    structures: dict[str, Structure],
    parts: dict[str, Part],
    moves: frozenset[str],
    batch: Batch,
    key: UInt32[Array, " 2"],
    descend: Descend,
) -> tuple[dict[str, Part], dict[str, jax.Array]]:
    """One update of the value network; with `target` in `moves` its target follows."""
    online, target = structures["q"].online(parts["q"]), structures["q"].target(parts["q"])
    observation, action = batch.observation.T, batch.action[:, 0].astype(jnp.int32)
    next_observation = batch.next_observation.T

    next_values = target["q"](next_observation)
    chooser = online["q"](next_observation) if config.double else next_values
    next_q = chosen(next_values, jnp.argmax(chooser, axis=0).astype(jnp.int32))
    # `terminated` is the environment's own end; a time limit does not end the value (truncation).
    target_q = batch.reward + batch.discount * (1.0 - batch.terminated) * next_q

    def huber_loss(networks: Networks) -> tuple[jax.Array, jax.Array]:
        # The Nature paper clips the error to [-1, 1]: the gradient of this loss.
        q = chosen(networks["q"](observation), action)
        return batch.mean(optax.losses.huber_loss(q, target_q)), q

    (loss, q), gradient = jax.value_and_grad(huber_loss, has_aux=True, allow_int=True)(online)
    moved = descend("q", parts["q"], gradient)
    if "target" in moves:
        moved = polyak(moved, config.tau)
    return {"q": moved}, {"loss": loss, "q_value": jnp.mean(q), "td_error": jnp.abs(q - target_q)}
