"""An agent that another library trained, in sparl's terms: what a run can begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from sparl.agents import Agent
from sparl.envs import Spaces
from sparl.errors import BadEnvironment, BadFile
from sparl.learner import Learner, Part, Structure

Members = dict[str, Any]
"""The members of an agent's part by name: networks of dense layers, or bare arrays."""


class Moments(NamedTuple):
    """The state of Adam. Moments have the form of the networks that they belong to."""

    steps: int
    first: Members
    second: Members


class TrainedPart(NamedTuple):
    """What one optimizer trained. Without `moments`, its optimizer starts afresh."""

    members: Members
    target: Members | None = None
    moments: Moments | None = None


class FileSpaces(NamedTuple):
    """What a file says of the spaces that the agent was trained in; None where it says nothing."""

    observation_shape: tuple[int, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    first: int = 0
    """The number of the first choice of discrete actions."""
    nvec: tuple[int, ...] | None = None
    """Choices of each number of an action of several."""


@dataclass(frozen=True)
class TrainedAgent:
    """Networks, targets and moments, with the hyperparameters that they were trained with."""

    agent: Agent
    parts: dict[str, TrainedPart]
    """By the names that `Agent.networks` gives."""
    run: dict[str, Any]
    """Options of `RunConfig` that the file has."""
    spaces: FileSpaces
    notes: tuple[str, ...] = ()
    """What could not be taken over, a sentence each, for the user who imports."""

    def learner(self) -> Learner:
        """Gives the learner that goes on where the file ends.

        Raises:
            BadFile: Targets or moments are not shaped as their networks.
        """
        agent = self.agent
        initial = Learner.start(
            {name: part.members for name, part in self.parts.items()},
            {name: agent.optimizer(name) for name in self.parts},
            agent.target_parts,
            agent.roles,
        )
        return initial.with_parts(
            {
                name: _with_targets_and_moments(
                    initial.parts[name], initial.structures[name], part, name
                )
                for name, part in self.parts.items()
            }
        )

    def refuse_other_spaces(self, env: str, spaces: Spaces) -> None:
        """Checks that the agent can have been trained in an environment.

        Args:
            env: How the message calls the environment.
            spaces: Its spaces.

        Raises:
            BadEnvironment: Sizes, bounds or numbers of choices differ from those of training.
        """
        policy = self.agent.policy(self.parts[self.agent.acting[0]].members)
        inputs, outputs = policy.layers[0].in_features, policy.layers[-1].out_features
        shape = self.spaces.observation_shape or spaces.observation_shape
        if (inputs, outputs, shape) != (
            spaces.observation_size,
            spaces.action_size,
            spaces.observation_shape,
        ):
            raise BadEnvironment(
                f"{env} has observations {spaces.observation_shape} and {spaces.action_size} "
                f"actions; the agent was trained with {self.spaces.observation_shape or (inputs,)} "
                f"and {outputs}. Choose the environment that it was trained in"
            )
        if any(spaces.starts):
            raise BadEnvironment(
                f"{env} counts its choices from {spaces.starts}, and the agent from 0. A wrapper "
                "of the environment can count them anew"
            )
        if spaces.first != self.spaces.first:
            raise BadEnvironment(
                f"{env} counts its choices from {spaces.first}, and the agent from "
                f"{self.spaces.first}. A wrapper of the environment can count them anew"
            )
        if (self.spaces.nvec or ()) != spaces.nvec:
            raise BadEnvironment(
                f"{env} has actions of {spaces.nvec or 'one'} choices; the agent was trained with "
                f"{self.spaces.nvec or 'one'}. Choose the environment that it was trained in"
            )
        for name, trained_bounds, bounds in (
            ("low", self.spaces.low, spaces.low),
            ("high", self.spaces.high, spaces.high),
        ):
            if trained_bounds is None:
                continue
            # Files have bounds as text of eight digits.
            if len(trained_bounds) != len(bounds) or not np.allclose(
                trained_bounds, bounds, rtol=1e-6, atol=1e-7
            ):
                raise BadEnvironment(
                    f"{env} has actions with {name} {bounds}; the agent was trained with "
                    f"{trained_bounds}. Choose the environment that it was trained in"
                )


def _with_targets_and_moments(
    part: Part, structure: Structure, trained: TrainedPart, name: str
) -> Part:
    """Replaces the fresh target and moments of a part by the trained ones."""

    def flatten(members: Members, content: str) -> Any:
        if Structure.of(members) != structure:
            raise BadFile(f"the {content} of {name} are not shaped as its networks")
        return structure.flatten(members)

    if trained.target is not None:
        part = part._replace(target=flatten(trained.target, "targets"))
    if trained.moments is not None:
        steps, first, second = trained.moments
        optimizer = optax.tree_utils.tree_set(
            part.optimizer,
            count=jnp.asarray(steps, jnp.int32),
            mu=flatten(first, "first moments"),
            nu=flatten(second, "second moments"),
        )
        part = part._replace(optimizer=optimizer)
    return part
