"""What agents share that learn from what their present policy does, and then leave it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.agents.agent import Agent
from sparl.agents.common.schedule import UpdateSchedule
from sparl.errors import BadValue
from sparl.learner import AgentState
from sparl.replay import Batch, Replay, Rollout


@dataclass(frozen=True)
class OnPolicyAgent(Agent):
    """Hyperparameters of agents that learn from rollouts: the newest transitions, each used once,
    or in several epochs of minibatches."""

    rollout_option: ClassVar[str] = "batch_size"
    """The option that says how long a rollout is."""

    @property
    def rollout_steps(self) -> int:
        """Environment steps, of all environments, between two times of learning."""
        return self.batch_size

    @property
    def rollout_unit(self) -> int:
        """What a rollout's length is a multiple of: the size of minibatches, where it has some."""
        return 1

    @property
    def epochs(self) -> int:
        """Passes over a rollout."""
        return 1

    @property
    def schedule(self) -> UpdateSchedule:
        minibatches = self.rollout_steps // self.batch_size
        return UpdateSchedule(self.learning_starts, self.rollout_steps, self.epochs * minibatches)

    def evaluate(self, state: AgentState, batch: Batch) -> dict[str, jax.Array]:
        """What the networks say of a whole rollout before the first update from it; compiled.

        Returns:
            Arrays [n] by name: `log_prob` of the actions taken, `value` of observations and
            `next_value`, say. They are given to `targets`.
        """
        return {}

    def targets(self, rollout: Rollout) -> dict[str, NDArray[np.float32]]:
        """What updates need besides the transitions: an array [n] for each name in `extras`."""
        return {}

    def batches(
        self, replay: Replay, updates: int, step: int, rng: np.random.Generator, evaluate: Any
    ) -> NDArray[np.float32]:
        """Every minibatch of every epoch; shuffled where a rollout has several minibatches.

        Where steps were not finite and left out, rows of the rollout before make up for them; in a
        run's first rollout some rows come twice.
        """
        rows = replay.newest(min(self.rollout_steps, replay.size), self.gamma)
        if self.extras:
            targets = self.targets(replay.rollout(rows, evaluate(rows)))
            rows = np.column_stack([rows, *(targets[name] for name in self.extras)])
        if self.rollout_steps == self.batch_size:
            orders = [np.arange(len(rows))] * self.epochs
        else:
            orders = [rng.permutation(len(rows)) for _ in range(self.epochs)]
        order = np.stack([np.resize(order, self.rollout_steps) for order in orders])
        return rows[order.reshape(-1, self.batch_size)].astype(np.float32)

    def check_run(self, run: Any) -> None:
        if run.actors:
            raise BadValue(
                f"actors is {run.actors}: {self.name} learns from the newest transitions alone, "
                "and actors act by older policies. Leave actors out, or choose td3, sac "
                "or dqn"
            )
        if run.buffer_size < self.rollout_steps:
            raise BadValue(
                f"buffer_size is {run.buffer_size}: it must be at least a rollout, "
                f"{self.rollout_steps}, for an agent that learns from the newest transitions"
            )
        if self.rollout_steps % run.envs:
            # Environments step together: of another rollout some steps would be learned from twice,
            # and others never.
            whole = math.lcm(run.envs, self.rollout_unit)
            below = self.rollout_steps // whole * whole
            raise BadValue(
                f"{self.rollout_option} is {self.rollout_steps}: with envs {run.envs} it must be a "
                f"multiple of that, for an agent that learns once from what its present policy "
                f"does: {f'{below} or ' if below else ''}{below + whole}"
            )
