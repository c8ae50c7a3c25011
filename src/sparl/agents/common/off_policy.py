"""What agents share that learn from a replay of all that they have done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.agents.agent import Agent
from sparl.agents.common.schedule import Unit, UpdateSchedule
from sparl.errors import BadValue
from sparl.replay import Replay


@dataclass(frozen=True)
class OffPolicyAgent(Agent):
    """Hyperparameters of agents that learn from a replay of all that they have done."""

    train_freq: int = 1
    """Environment steps, or episodes, between two times of learning."""
    train_unit: Unit = "steps"
    """What --train-freq counts. episodes: learn while the environment stands still, as real
    hardware wants it."""
    gradient_steps: int = 1
    """Updates each time; with --train-unit episodes, for each step of these episodes."""
    tau: float = 0.005
    """Share of the online network that goes into its target whenever that moves (Polyak)."""
    n_step: int = 1
    """Rewards summed before the target network's value takes over; fewer where an episode ends.
    Without off-policy correction, as in RLx2 (2205.15043)."""
    n_step_from: int = 0
    """Environment step from which --n-step rewards are summed; one reward before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.at_least(1, train_freq=self.train_freq, gradient_steps=self.gradient_steps)
        validation.positive(n_step=self.n_step)
        validation.one_of(("steps", "episodes"), train_unit=self.train_unit)
        validation.fractions(tau=self.tau)
        validation.at_least(0, n_step_from=self.n_step_from)

    @property
    def schedule(self) -> UpdateSchedule:
        return UpdateSchedule(
            self.learning_starts, self.train_freq, self.gradient_steps, self.train_unit
        )

    def batches(
        self, replay: Replay, updates: int, step: int, rng: np.random.Generator, evaluate: Any
    ) -> NDArray[np.float32]:
        """Drawn from the whole replay."""
        n_step = self.n_step if step >= self.n_step_from else 1
        rows = replay.sample(updates * self.rows_per_update, rng, self.gamma, n_step)
        return rows.reshape(updates, self.rows_per_update, -1)

    def check_run(self, run: Any) -> None:
        if run.actors and self.train_unit == "episodes":
            raise BadValue(
                f"train_unit is episodes: the {run.actors} actors send steps, whenever they have "
                "them. Leave one of train_unit and actors out"
            )

    def continued(self, step: int) -> Agent:
        shifted = replace(self, n_step_from=max(0, self.n_step_from - step))
        return super(OffPolicyAgent, shifted).continued(step)
