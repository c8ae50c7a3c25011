"""An agent that was trained elsewhere, in sparl's terms, as a run begins with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from sparl.agents import Agent
from sparl.envs import Spaces
from sparl.errors import BadCheckpoint, BadEnvironment
from sparl.learner import Learner, Part, Structure

Members = dict[str, Any]
"""What a part of an agent has by name: networks of dense layers, or bare arrays."""


class Moments(NamedTuple):
    """Adam's: each is in the shape of what it belongs to, as networks of moments."""

    steps: int
    first: Members
    second: Members


class TrainedPart(NamedTuple):
    """What one optimizer trained. Without `moments`, its optimizer starts afresh."""

    members: Members
    target: Members | None = None
    moments: Moments | None = None


class Seen(NamedTuple):
    """What a file tells of the spaces that the agent was trained in; None for what it does not."""

    observation_shape: tuple[int, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    first: int = 0
    """The number of the first choice, where actions are discrete."""


@dataclass(frozen=True)
class Trained:
    """Networks, targets and moments, with the hyperparameters that they were trained with."""

    agent: Agent
    parts: dict[str, TrainedPart]
    """As the agent's `init` names them."""
    run: dict[str, Any]
    """Those options of `RunConfig` that the file knows."""
    seen: Seen
    notes: tuple[str, ...] = ()
    """What could not be taken over, for the one who imports."""

    def learner(self) -> Learner:
        """Raises `BadCheckpoint` where targets or moments are not shaped as their networks."""
        agent = self.agent
        begun = Learner.start(
            {name: part.members for name, part in self.parts.items()},
            {name: agent.optimizer(name) for name in self.parts},
            agent.with_target,
            agent.roles,
        )
        return begun.with_parts(
            {
                name: _filled(begun.parts[name], begun.structures[name], part, name)
                for name, part in self.parts.items()
            }
        )

    def refuse_other_spaces(self, env: str, spaces: Spaces) -> None:
        """Raises `BadEnvironment` where this agent cannot have been trained in `env`."""
        policy = self.agent.policy(self.parts[self.agent.acting[0]].members)
        inputs, outputs = policy.layers[0].in_features, policy.layers[-1].out_features
        shape = self.seen.observation_shape or spaces.observation_shape
        if (inputs, outputs, shape) != (
            spaces.observation_size,
            spaces.action_size,
            spaces.observation_shape,
        ):
            raise BadEnvironment(
                f"{env} has observations {spaces.observation_shape} and {spaces.action_size} "
                f"actions; the agent was trained with {self.seen.observation_shape or (inputs,)} "
                f"and {outputs}. Choose the environment that it was trained in"
            )
        if spaces.first != self.seen.first:
            raise BadEnvironment(
                f"{env} counts its choices from {spaces.first}, and the agent from "
                f"{self.seen.first}. A wrapper of the environment can count them anew"
            )
        for name, seen, bounds in (
            ("low", self.seen.low, spaces.low),
            ("high", self.seen.high, spaces.high),
        ):
            # Files have them as text, in eight digits.
            if seen is None:
                continue
            if len(seen) != len(bounds) or not np.allclose(seen, bounds, rtol=1e-6, atol=1e-7):
                raise BadEnvironment(
                    f"{env} has actions with {name} {bounds}; the agent was trained with {seen}. "
                    "Choose the environment that it was trained in"
                )


def _filled(part: Part, structure: Structure, trained: TrainedPart, name: str) -> Part:
    """A part as `Learner.start` makes it, with the target and the moments that were trained."""

    def flat(members: Members, what: str) -> Any:
        if Structure.of(members) != structure:
            raise BadCheckpoint(f"the {what} of {name} are not shaped as its networks")
        return structure.flatten(members)

    if trained.target is not None:
        part = part._replace(target=flat(trained.target, "targets"))
    if trained.moments is not None:
        steps, first, second = trained.moments
        optimizer = optax.tree_utils.tree_set(
            part.optimizer,
            count=jnp.asarray(steps, jnp.int32),
            mu=flat(first, "first moments"),
            nu=flat(second, "second moments"),
        )
        part = part._replace(optimizer=optimizer)
    return part
