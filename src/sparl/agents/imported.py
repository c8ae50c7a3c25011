"""A policy that another library trained by an algorithm that sparl does not have.

It acts and does not learn. A run of it has its environment, what it did there, and all that a
policy can be asked for: evaluation, inspection, export, a report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.agent import Acting, Actions, Agent
from sparl.agents.common.deterministic import best_actions
from sparl.agents.common.schedule import UpdateSchedule
from sparl.errors import BadValue
from sparl.learner import AgentState
from sparl.networks import Networks, with_clipped_output
from sparl.replay import Batch, Replay

NEVER = 2**62
"""Environment steps that no run makes."""


@dataclass(frozen=True)
class Imported(Agent):
    """A policy that another library trained; it acts, and cannot be trained on."""

    name: ClassVar[str] = "imported"
    actions: ClassVar[Actions | Literal["both"]] = "both"
    acting: ClassVar[tuple[str, str]] = ("policy", "policy")
    roles: ClassVar[Any] = {"policy": "actor"}
    metrics: ClassVar[Any] = {}

    algorithm: str = ""
    """What it was trained by."""
    discrete: bool = False
    """Whether its outputs are values of choices."""
    squash: bool = False
    """Whether tanh is applied to its outputs."""
    clip_output: float | None = None
    """Most that an output is away from 0 before that."""
    learning_starts: int = NEVER
    """Steps after which it would learn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip_output is not None:
            validation.positive(clip_output=self.clip_output)

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, Networks]:
        """One network, of actions or of values of choices."""
        network = self.build(key, (observation_size, *self.hidden, action_size), self.squash)
        if self.clip_output is not None:
            network = with_clipped_output(network, self.clip_output)
        return {"policy": {"policy": network}}

    def for_actions(self, actions: Actions) -> Agent:
        if (actions == "discrete") != self.discrete:
            own = "discrete" if self.discrete else "continuous"
            raise BadValue(
                f"the policy has {own} actions, and the environment {actions} ones: name the one "
                "that it was trained in"
            )
        return self

    @property
    def schedule(self) -> UpdateSchedule:
        return UpdateSchedule(NEVER)

    def act(
        self, network: Acting, observation: NDArray[np.float32]
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        return best_actions(network, observation, self.discrete)

    def explore(
        self,
        network: Acting,
        observation: NDArray[np.float32],
        action_size: int,
        step: int,
        rng: np.random.Generator,
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        """The best actions: how it explored is not known."""
        return self.act(network, observation)

    def update(
        self, state: AgentState, batch: Batch, key: jax.Array
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        raise AssertionError("it does not learn")

    def batches(
        self, replay: Replay, updates: int, step: int, rng: np.random.Generator, evaluate: Any
    ) -> NDArray[np.float32]:
        raise AssertionError("it does not learn")

    def check_run(self, run: Any) -> None:
        if not run.begun_from:
            raise BadValue("agent is imported: only `sparl import` makes such a run")
        if Path(run.begun_from).name.startswith("step-"):
            raise BadValue(
                f"this policy was trained by {self.algorithm}, which sparl does not have: it can "
                "be evaluated and exported, but not be trained on or pruned. Agents of PPO, TD3, "
                "SAC and DQN can"
            )
