"""What an agent's update takes and gives: networks to read, and the one way to change them.

`AgentState` hides how networks are stored, what the method does around an optimizer step, and what
is an index and must not be differentiated. It is a pytree, and its methods are pure: updates may be
scanned and vmapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32

from sparl.learner.density import step_factors
from sparl.learner.structure import Part, Structure
from sparl.networks import Networks, with_statistics

Aux = TypeVar("Aux")
HookState = dict[str, Any]
"""What a method's hooks remember from one update to the next: arrays by name."""
BeforeStep = Callable[[str, Networks, Networks, HookState], tuple[Networks, HookState]]
"""(part, its networks, gradients, state) -> (gradients, state)."""
AfterStep = Callable[[str, Networks, HookState, Any], Networks]
"""(part, its networks, state, learning rate) -> networks."""
Constraint = Callable[[str, Networks], Networks]
"""(part, its networks) -> the networks that meet what an agent demands of their weights."""
Anneal = Callable[[Float[Array, ""]], Float[Array, ""]]
"""Share of a run that is over -> what learning rates are multiplied by."""
ROW = 256


@dataclass(frozen=True, eq=False)
class StepRules:
    """How the parts of a state are stored, and what an optimizer step does to them."""

    structures: dict[str, Structure]
    optimizers: dict[str, optax.GradientTransformation]
    learning_rates: dict[str, float]
    """Of each part, before it is annealed; for `after_step`."""
    before_step: BeforeStep | None = None
    after_step: AfterStep | None = None
    max_grad_norm: float | None = None
    """A part's gradient is scaled down to this norm where it is larger."""
    anneal: Anneal | None = None
    constraint: Constraint | None = None
    """What the agent makes of a part's networks behind every step."""
    collect_gradients: bool = False
    """Steps leave the parts as they are, and put their gradients into the state."""
    by_density: bool = False
    """Whether steps of sparse layers are larger: see `density`."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AgentState:
    """All parts of an agent in the middle of an update."""

    parts: dict[str, Part]
    hooks: HookState
    """What the method's hooks remember."""
    progress: Float[Array, ""] | None
    """Share of the run's updates that are made; None where no learning rate depends on it."""
    gradients: dict[str, Any]
    """Of each part that took a step, where the rules say so: networks of gradients."""
    rules: StepRules = field(metadata={"static": True})
    due: frozenset[str] = field(metadata={"static": True})
    """What this update changes: the words that `Agent.due` gave for it."""
    updates: Int32[Array, ""] | None = None
    """Updates made before this one; None where they are not counted."""

    def online(self, part: str) -> dict[str, Any]:
        """The members of a part that act and learn: networks by name, or arrays by name."""
        return self.rules.structures[part].online(self.parts[part])

    def target(self, part: str) -> Networks:
        """The target networks of a part; empty where it has none."""
        return self.rules.structures[part].target(self.parts[part])

    def has(self, part: str) -> bool:
        """Whether the agent has such a part."""
        return part in self.parts

    def step(
        self, part: str, loss: Callable[[Any], tuple[Float[Array, ""], Aux]]
    ) -> tuple[AgentState, Float[Array, ""], Aux]:
        """One optimizer step of a part down a loss.

        The loss is differentiated by what is stored of the networks alone. The gradient is clipped,
        goes through the method's `before_step` and the optimizer, and the new values through the
        method's `after_step` and the agent's constraint.

        Args:
            part: Name of the part.
            loss: Takes the part's members and gives the loss and anything else worth keeping.

        Returns:
            The state after the step, the loss before it, and what else `loss` gave.
        """
        gradient_of = jax.value_and_grad(loss, has_aux=True, allow_int=True)
        (value, aux), gradient = gradient_of(self.online(part))
        return self._descended(part, gradient), value, aux

    def polyak(self, tau: float, *parts: str) -> AgentState:
        """Moves the targets of `parts` towards their online networks by the share `tau`."""

        def moved(part: Part) -> Part:
            return part._replace(target=(1.0 - tau) * part.target + tau * part.values)

        return self._with_parts({name: moved(self.parts[name]) for name in parts})

    def with_statistics(self, part: str, seen: Networks) -> AgentState:
        """Sets the running statistics of a part's batch norms.

        Args:
            part: Name of the part.
            seen: The part's networks as `networks.by_batch` gives them; all but their running
                statistics is left aside.
        """
        moved = {
            name: with_statistics(network, seen[name])
            for name, network in self.online(part).items()
        }
        return self.with_online(part, moved)

    def with_online(self, part: str, members: dict[str, Any]) -> AgentState:
        """Sets a part's values to those of `members`, which are shaped as its own."""
        values = self.rules.structures[part].flatten(members)
        return self._with_parts({part: self.parts[part]._replace(values=values)})

    def _with_parts(self, parts: dict[str, Part]) -> AgentState:
        return replace(self, parts={**self.parts, **parts})

    def _descended(self, name: str, gradient: Any) -> AgentState:
        rules, part, hooks = self.rules, self.parts[name], self.hooks
        if rules.collect_gradients:
            return replace(self, gradients={**self.gradients, name: gradient})
        structure = rules.structures[name]
        if rules.before_step is not None and structure.holds_networks:
            gradient, hooks = rules.before_step(name, structure.online(part), gradient, hooks)
        flat = structure.flatten(gradient)
        if rules.max_grad_norm is not None:
            flat = flat * jnp.minimum(1.0, rules.max_grad_norm / (norm(flat) + 1e-6))
        steps, optimizer = rules.optimizers[name].update(flat, part.optimizer, part.values)
        rate = rules.learning_rates[name]
        if rules.anneal is not None:
            assert self.progress is not None
            # Adam's step, decoupled decay included, is proportional to its learning rate.
            factor = rules.anneal(self.progress)
            steps, rate = jax.tree.map(lambda step: factor * step, steps), factor * rate
        if rules.by_density and (factors := step_factors(structure)) is not None:
            steps = jax.tree.map(lambda step: factors * step, steps)
        if (trained := structure.trained()) is not None:
            # Running statistics have no gradient, and what decays weights must leave them alone.
            steps = jax.tree.map(lambda step: jnp.where(trained, step, 0.0), steps)
        values = optax.apply_updates(part.values, steps)
        part = part._replace(values=values, optimizer=optimizer)
        if rules.after_step is not None and structure.holds_networks:
            networks = rules.after_step(name, structure.online(part), hooks, rate)
            part = part._replace(values=structure.flatten(networks))
        if rules.constraint is not None and structure.holds_networks:
            networks = rules.constraint(name, structure.online(part))
            part = part._replace(values=structure.flatten(networks))
        return replace(self, parts={**self.parts, name: part}, hooks=hooks)


def norm(vector: Float[Array, " n"]) -> Float[Array, ""]:
    """The Euclidean norm, the same bits on any number of threads.

    Of one sum over everything XLA gives each thread a share, so that the last bit would depend on
    how many there are; sums over rows of fixed length do not.
    """
    rows = jnp.pad(vector, (0, -vector.size % ROW)).reshape(-1, ROW)
    return jnp.linalg.norm(jnp.linalg.norm(rows, axis=1))
