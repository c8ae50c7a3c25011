"""Agents: pure functions over networks made of layers. They know nothing of sparsity.

An agent is a module with a frozen dataclass of hyperparameters and the functions of `Agent`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import optax

from sparl.agents import td3
from sparl.agents.base import Batch
from sparl.agents.td3 import TD3Config
from sparl.learner import Descend, Part, Structure
from sparl.networks import Networks


@runtime_checkable
class Agent(Protocol):
    """What a module of this package provides; `td3.py` documents each."""

    METRICS: tuple[str, ...]
    WITH_TARGET: frozenset[str]

    def init(
        self, config: Any, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, Networks]: ...

    def optimizers(self, config: Any) -> dict[str, optax.GradientTransformation]: ...

    def moving(self, config: Any, updates: int) -> frozenset[str]: ...

    def act(self, actor: dict[str, Any], observation: Any) -> Any: ...

    def update(
        self,
        config: Any,
        structures: dict[str, Structure],
        parts: dict[str, Part],
        moves: frozenset[str],
        batch: Batch,
        key: jax.Array,
        descend: Descend,
    ) -> tuple[dict[str, Part], dict[str, jax.Array]]: ...


AGENTS: dict[str, tuple[type, Agent]] = {"td3": (TD3Config, td3)}
"""Name to hyperparameters and functions."""


def name_of(config: Any) -> str:
    """The name of the agent that `config` belongs to."""
    return next(name for name, (kind, _) in AGENTS.items() if isinstance(config, kind))


def functions_of(config: Any) -> Agent:
    return AGENTS[name_of(config)][1]


__all__ = ["AGENTS", "Agent", "Batch", "TD3Config", "functions_of", "name_of"]
