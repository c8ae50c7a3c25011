"""Agents: pure functions over networks made of layers. They know nothing of sparsity.

An agent is a frozen dataclass of hyperparameters and a module with the functions of `Agent`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
import optax
from numpy.typing import NDArray

from sparl.agents import dqn, sac, td3
from sparl.agents.actor_critic import OneStepConfig
from sparl.agents.common import one_step
from sparl.agents.common.config import Actions, AgentConfig
from sparl.agents.common.one_step import OnPolicyConfig
from sparl.agents.dqn import DQNConfig
from sparl.agents.primal_dual import PrimalDualConfig
from sparl.agents.sac import SACConfig
from sparl.agents.td3 import TD3Config
from sparl.errors import BadEnvironment
from sparl.learner import Descend, Part, Structure
from sparl.networks import Network, Networks
from sparl.replay import Batch


@runtime_checkable
class Agent(Protocol):
    """What a module of this package provides."""

    ACTIONS: Actions
    ACTING: tuple[str, str]
    """The part, and the network in it, that `act` and `explore` are called with."""
    METRICS: tuple[str, ...]
    WITH_TARGET: frozenset[str]
    """The parts that have target networks."""

    def init(
        self, config: Any, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, dict[str, Any]]:
        """All parts, of dense networks by name; a part may instead hold arrays by name.

        `action_size` is the number of choices where actions are discrete.
        """
        ...

    def optimizers(self, config: Any) -> dict[str, optax.GradientTransformation]:
        """One for each part."""
        ...

    def moving(self, config: Any, updates: int) -> frozenset[str]:
        """The parts that update number `updates` (from 0) changes.

        It may have further words in it; `update` is compiled once for every set that occurs.
        """
        ...

    def act(
        self, network: Callable[[Any], Any], observation: NDArray[np.float32]
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        """The best actions: [batch, obs] to [batch, act] in [-1, 1], or to choices [batch].

        `network` takes and gives NumPy arrays, feature-major, and waits for an update under way.
        """
        ...

    def explore(
        self,
        config: Any,
        network: Callable[[Any], Any],
        observation: NDArray[np.float32],
        action_size: int,
        step: int,
        rng: np.random.Generator,
    ) -> NDArray[np.float32] | int:
        """An action to learn from, for one observation [obs] at an environment step."""
        ...

    def policy(self, networks: Networks) -> Network:
        """What is saved of the acting part's networks: gives actions, or values of choices."""
        ...

    def update(
        self,
        config: Any,
        structures: dict[str, Structure],
        parts: dict[str, Part],
        moves: frozenset[str],
        batch: Batch,
        key: jax.Array,
        descend: Descend,
    ) -> tuple[dict[str, Part], dict[str, jax.Array]]:
        """The parts in `moves` one update later, and metrics; pure, compiled.

        Of an off-policy agent `td_error` is among these: the absolute TD errors, [batch].
        """
        ...


AGENTS: dict[str, tuple[type[AgentConfig], Agent]] = {
    "td3": (TD3Config, td3),
    "sac": (SACConfig, sac),
    "dqn": (DQNConfig, dqn),
    "primal_dual": (PrimalDualConfig, one_step),
    "actor_critic": (OneStepConfig, one_step),
}
"""Name to hyperparameters and functions."""


def name_of(config: Any) -> str:
    """The name of the agent that `config` belongs to."""
    return next(name for name, (kind, _) in AGENTS.items() if isinstance(config, kind))


def functions_of(config: Any) -> Agent:
    return AGENTS[name_of(config)][1]


def refuse_misfit(config: Any, env: str, actions: Actions, space: Any) -> None:
    """Raises `BadEnvironment` where the agent cannot act in the environment's action space."""
    name = name_of(config)
    needed = AGENTS[name][1].ACTIONS
    if needed != actions:
        fitting = [other for other, (_, agent) in AGENTS.items() if actions == agent.ACTIONS]
        raise BadEnvironment(
            f"{env} has {actions} actions ({space}); {name} needs {needed} ones. "
            f"What fits: --agent {' or --agent '.join(fitting)}"
        )


__all__ = [
    "AGENTS",
    "Agent",
    "AgentConfig",
    "Batch",
    "DQNConfig",
    "OnPolicyConfig",
    "OneStepConfig",
    "PrimalDualConfig",
    "SACConfig",
    "TD3Config",
    "functions_of",
    "name_of",
    "refuse_misfit",
]
