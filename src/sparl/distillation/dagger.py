"""DAgger: a student learns what a teacher would do, wherever the student gets (1011.0686).

The teacher acts first. From then on the student does, and the teacher says of all that was seen
what it would have done there; the student learns from everything so far. That is the paper's
algorithm with its choice of beta, which is 1 in the first iteration and 0 after it.

Our reading: an iteration is one environment step, as the replay is there at any time. What the
teacher would have done is asked when a transition is drawn, not when it is stored. Continuous
actions are learned by the squared error, discrete ones by the cross-entropy to the teacher's
choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Array, UInt32
from numpy.typing import NDArray

from sparl import validation
from sparl.agents import Actions, Agent, UpdateSchedule
from sparl.agents.common.deterministic import best_actions
from sparl.errors import BadRun, BadValue
from sparl.learner import AgentState
from sparl.networks import Networks
from sparl.policy import Policy
from sparl.replay import Batch, Replay
from sparl.training import load_policy

Outputs = Literal["auto", "choices", "numbers"]
"""What a student gives; auto until the environment's actions are known."""


@dataclass(frozen=True)
class DAgger(Agent):
    """A student that imitates a teacher, for discrete and continuous actions (1011.0686)."""

    name: ClassVar[str] = "dagger"
    actions: ClassVar[Literal["both"]] = "both"
    needs_teacher: ClassVar[bool] = True
    first_phase: ClassVar[str] = "teacher"
    roles: ClassVar[Any] = {"actor": "actor"}
    metrics: ClassVar[Any] = {"loss": "train/loss", "difference": "train/difference"}

    teacher: str = ""
    """Folder of the run or of the policy that is imitated."""
    hidden: tuple[int, ...] = (16, 16)
    """Widths of the student's hidden layers."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    learning_starts: int = 1_000
    """Steps in which the teacher acts, before the student learns and acts."""
    train_freq: int = 1
    """Environment steps between two times of learning."""
    gradient_steps: int = 1
    """Updates each time."""
    outputs: Outputs = "auto"
    """Values of choices, or the numbers of continuous actions. auto: what the environment's actions
    need."""
    teacher_sha256: tyro.conf.Suppress[str] = ""
    """Of the policy that it imitates: it may learn on in its folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.at_least(1, train_freq=self.train_freq, gradient_steps=self.gradient_steps)

    @property
    def policy_of_teacher(self) -> Policy:
        """What is imitated.

        Raises:
            BadValue: No teacher is named.
            BadRun: It is not what it was when the student began.
            SparlError: It cannot be read.
        """
        if not self.teacher:
            raise BadValue(
                "teacher is not given: it is the folder of a run or of a policy, and sparl distill "
                "takes it first"
            )
        return _teacher(self.teacher, self.teacher_sha256)

    @property
    def _discrete(self) -> bool:
        return self.outputs == "choices"

    def for_actions(self, actions: Actions) -> Agent:
        forget_teachers()  # one may have learned on since another run asked it
        wanted: Outputs = "choices" if actions == "discrete" else "numbers"
        if self.outputs not in ("auto", wanted):
            raise BadValue(f"outputs is {self.outputs}, and actions are {actions}: leave it out")
        return replace(self, outputs=wanted)

    def networks(
        self, key: jax.Array, observation_size: int, action_size: int
    ) -> dict[str, Networks]:
        """`actor`: actions in [-1, 1], or an output for each of the `action_size` choices."""
        sizes = (observation_size, *self.hidden, action_size)
        return {"actor": {"actor": self.build(key, sizes, squash=not self._discrete)}}

    @property
    def schedule(self) -> UpdateSchedule:
        return UpdateSchedule(self.learning_starts, self.train_freq, self.gradient_steps)

    def act(self, network: Any, observation: NDArray[np.float32]) -> NDArray[Any]:
        return best_actions(network, observation, self._discrete)

    def explore(
        self,
        network: Any,
        observation: NDArray[np.float32],
        action_size: int,
        step: int,
        rng: np.random.Generator,
    ) -> NDArray[np.float32] | NDArray[np.integer]:
        """What the student takes for best: its own mistakes are what it has to see."""
        return self.act(network, observation)

    def first_actions(self, observation: NDArray[np.float32], draw: Callable[[], Any]) -> Any:
        """The teacher's."""
        return self.labels(observation)

    def labels(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """What the teacher would do: [batch, obs] to [batch, act] in [-1, 1], or choices [batch].

        Raises:
            BadValue: The teacher saw other observations, or has other actions.
        """
        teacher = self.policy_of_teacher
        if teacher.spaces.discrete != self._discrete:
            own, others = ("discrete", "continuous")[:: 1 if teacher.spaces.discrete else -1]
            raise BadValue(
                f"teacher is {self.teacher}, whose actions are {own}; the environment's are "
                f"{others}"
            )
        seen, expected = observation.shape[1], teacher.spaces.observation_size
        if seen != expected:
            raise BadValue(
                f"teacher is {self.teacher}, whose observations have {expected} numbers; the "
                f"environment's have {seen}"
            )
        actions = teacher.act(observation)
        return actions if self._discrete else np.clip(actions, -1.0, 1.0)

    def batches(
        self, replay: Replay, updates: int, step: int, rng: np.random.Generator, evaluate: Any
    ) -> NDArray[np.float32]:
        """Drawn from the whole replay, with the teacher's actions in place of the student's."""
        rows = replay.sample(updates * self.batch_size, rng, self.gamma)
        size, action_end = replay.columns.observation_size, replay.columns.reward
        rows[:, size:action_end] = self.labels(rows[:, :size]).reshape(len(rows), -1)
        return rows.reshape(updates, self.batch_size, -1)

    def update(
        self, state: AgentState, batch: Batch, key: UInt32[Array, " 2"]
    ) -> tuple[AgentState, dict[str, jax.Array]]:
        discrete = self._discrete

        def imitation_loss(networks: Networks) -> tuple[jax.Array, tuple[jax.Array, Networks]]:
            (outputs,), seen = self.by_batch(state, networks, batch.observation.T)
            if discrete:
                choice = batch.action[:, 0].astype(jnp.int32)
                cross_entropy = optax.softmax_cross_entropy_with_integer_labels
                losses = cross_entropy(outputs.T, choice)
                difference = jnp.mean(jnp.argmax(outputs, axis=0) != choice)
            else:
                error = outputs - batch.action.T
                losses = jnp.mean(error**2, axis=0)
                difference = jnp.mean(jnp.abs(error))
            return batch.mean(losses), (difference, seen)

        state, loss, (difference, seen) = state.step("actor", imitation_loss)
        state = state.with_statistics("actor", seen)
        return state, {"loss": loss, "difference": difference}

    def check_run(self, run: Any) -> None:
        for name in ("actors", "dynamic_replay", "offline"):
            if getattr(run, name):
                raise BadValue(
                    f"{name} is {getattr(run, name)}: a student asks its teacher about what it "
                    "meets itself. Leave it out"
                )


def forget_teachers() -> None:
    """Lets every teacher be read anew."""
    _teacher.cache_clear()


@lru_cache(maxsize=4)
def _teacher(path: str, sha256: str) -> Policy:
    """It is asked at every update, so it is kept."""
    policy = load_policy(Path(path))
    if sha256 and digest_of(policy) != sha256:
        raise BadRun(
            f"{path} has learned on since it began to teach this student. Distil what it is now in "
            "a folder of its own, or put back what it was"
        )
    return policy


def digest_of(policy: Policy) -> str:
    """The sha256 of all numbers of a policy."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((policy.network, policy.normalization)):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
