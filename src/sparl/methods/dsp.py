"""DSP: dynamic structured pruning by neuron importance (2402.05146, 2024).

The paper says: training has a group sparse regularizer weighted by the importance of neurons: it
penalises those that do not significantly influence the output. A dynamic threshold removes
unimportant neurons gradually by a binary mask, while training goes on. 93 % of the neurons and
96 % of the weights of a DQN went with slight loss. Its formulas and sizes are not public to us.

Our reading:
- A group is a hidden neuron: its incoming row, its bias, its outgoing column.
- Importance: I_j = moving average of |sum over the batch of a_j dL/da_j|, the first-order change
  of the loss without the neuron.
- Penalty: lambda(t) sum_j c_j sqrt(size of group) ||theta_j|| with c_j = 1 - I_j / max I of the
  layer, a constant to the gradient. As a proximal step (group soft threshold) after the optimizer,
  or as part of the gradient. lambda rises from 0 until pruning begins and is 0 while the gate is
  closed and when pruning is over.
- Threshold: the least important neurons of a layer go as long as those that went have held no more
  than the share epsilon(t) of its importance, each measured when it went, and no more than a
  geometric path from all neurons to the fewest allows. Both paths (epsilon's is cubic) go on only
  while the gate is open: while the recent return is near the best so far.
- The mask is monotone. A neuron that goes is switched off: its whole group is zero, moments and
  targets too, and stays zero, for no gradient reaches it: activations take 0 to 0, and the weights
  behind it are 0. At a later restructuring with the gate open it is cut out of the matrices. Cuts
  come when they save a fifth of the weights at least, and when what is saved until the end
  outweighs a compilation; the last one always.
- At least 2 neurons stay in a layer, and at least a share of it: a larger one in critics.
- Layers whose neurons cannot go one by one (`neurons.hidden`) keep them all.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sparl import validation
from sparl.learner import Learner, Role, transport
from sparl.methods.common import group_penalty, neurons
from sparl.methods.common.method import (
    RUNNING,
    AfterStep,
    BeforeStep,
    Method,
    MethodState,
    Signals,
    TrainingProgress,
    check_window,
)
from sparl.networks import Networks

SAVING = 0.2
"""A cut takes at least this share of the weights with it."""
COMPILATION = 1000
"""What a compilation takes, in updates of the networks as they were at the start."""
FEWEST = 2
"""Neurons that stay in any layer."""
PACE = 0.6
"""Share of the time for pruning in which it is done if the gate never closes."""


class Plan(NamedTuple):
    """What a restructuring does, as far as it must be known while compiling."""

    over: bool
    """Pruning ends here."""
    widths: tuple[tuple[str, tuple[int, ...]], ...] | None
    """Cut down to these hidden layers, by network; None for no cut."""


@dataclass(frozen=True)
class DSP(Method):
    """Start dense; neurons that matter least are penalised, switched off and cut out."""

    name: ClassVar[str] = "dsp"
    prunes: ClassVar[bool] = True

    interval: int = 1000
    """Updates between two looks at the neurons."""
    begin: float = 0.4
    """Share of the run's updates before the first neurons go."""
    end: float = 0.9
    """Share of the run's updates after which no more go."""
    epsilon: float = 1.0
    """Share of a layer's importance that the neurons which go may have held, at the end."""
    critic_epsilon: float = 0.5
    """That of critics beside an actor."""
    floor: float = 0.06
    """Share of a layer's neurons that stays whatever happens."""
    critic_floor: float = 0.3
    """That of critics beside an actor: studies find that actors bear more (2206.10369)."""
    tolerance: float = 0.2
    """How far the recent return may fall short of the best while neurons go, as a share of what
    lies between the lowest and the best; 1 for no gate."""
    penalty: float = 0.01
    """lambda: weight of the group sparse penalty."""
    penalty_step: Literal["proximal", "gradient"] = "proximal"
    """proximal: groups are shrunk after each optimizer step. gradient: the penalty's gradient is
    added to the loss's."""
    importance: group_penalty.Importance = "taylor"
    """taylor: first-order change of the loss without the neuron. magnitude: norm of its group."""

    def __post_init__(self) -> None:
        validation.at_least(1, interval=self.interval)
        check_window(self.begin, self.end)
        validation.fractions(
            epsilon=self.epsilon,
            critic_epsilon=self.critic_epsilon,
            floor=self.floor,
            critic_floor=self.critic_floor,
            tolerance=self.tolerance,
        )
        validation.at_least(0, penalty=self.penalty)
        validation.one_of(("proximal", "gradient"), penalty_step=self.penalty_step)
        validation.one_of(("taylor", "magnitude"), importance=self.importance)

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Dense as they are. State, by network: of every neuron its importance and whether it is
        `alive`, of every layer the share of importance `lost`, its `widest` and its `fewest`
        neurons. How far the schedule came is `advance`; it is reckoned from `progress`. The
        `weights` are those of the start."""
        all_networks = {name: n for group in networks.values() for name, n in group.items()}
        counts = {name: sum(neurons.widths(n)) for name, n in all_networks.items()}
        state = {
            "alive": {name: jnp.ones(count) for name, count in counts.items()},
            "lost": {name: jnp.zeros(len(neurons.widths(n))) for name, n in all_networks.items()},
            "widest": {name: jnp.asarray(neurons.widths(n)) for name, n in all_networks.items()},
            "fewest": {
                name: jnp.asarray(self.fewest(neurons.widths(network), part, roles), jnp.int32)
                for part, group in networks.items()
                for name, network in group.items()
            },
            "weights": jnp.asarray(sum(map(neurons.weights, all_networks.values())), jnp.int32),
            "advance": jnp.zeros(()),
            "progress": jnp.zeros(()),
            RUNNING: {
                "importance": {name: jnp.zeros(count) for name, count in counts.items()},
                "strength": jnp.zeros(()),
            },
        }
        return networks, state

    def fewest(self, widths: Sequence[int], part: str, roles: Mapping[str, Role]) -> list[int]:
        """Neurons that stay in each layer of a network of `part`."""
        floor = self.critic_floor if _beside_actor(part, roles) else self.floor
        return [min(width, max(FEWEST, math.ceil(floor * width))) for width in widths]

    def stage(self, update: int, updates: int) -> Hashable | None:
        last = max(1, math.floor(self.end * updates / self.interval)) * self.interval
        if update % self.interval or update > last:
            return None
        return "end" if update == last else "look"

    def plan(
        self, stage: Hashable, learner: Learner, state: MethodState, progress: TrainingProgress
    ) -> Plan:
        """Whether pruning is over, and the widths to cut down to if it is time for that."""
        before, after, left = 0, 0, []
        for part in learner.network_parts:
            for name, network in learner.structures[part].outline().items():
                alive = neurons.by_layer(np.asarray(state["alive"][name]), network)
                left.append((name, tuple(int(np.count_nonzero(layer)) for layer in alive)))
                before += neurons.weights(network)
                after += neurons.weights_between(network, left[-1][1])
        saved, over = before - after, stage == "end"
        pays = (progress.updates - progress.update) * saved >= COMPILATION * int(state["weights"])
        due = pays and saved >= SAVING * before and bool(progress.returns.hold(self.tolerance))
        return Plan(over, tuple(left) if saved and (due or over) else None)

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Cuts out what is switched off, if it is time; then switches off what the threshold says.

        Figures: `neurons_NETWORK` that are on, those of its `narrowest_NETWORK` layer,
        `dead_layers_NETWORK` without any importance, `kept_NETWORK` weights; `epsilon`, `gate`, and
        `strength` of the penalty. Vectors: `importance_NETWORK`, as shares of a layer's largest.
        """
        plan = signals.stage
        assert isinstance(plan, Plan)
        if plan.widths is not None:
            learner, state = _cut(learner, state, dict(plan.widths))
        gate = jnp.asarray(signals.returns.hold(self.tolerance), jnp.float32)
        begun = signals.progress > self.begin
        since = signals.progress - jnp.maximum(state["progress"], self.begin)
        step = begun * gate * since / (PACE * (self.end - self.begin))
        advance = jnp.clip(state["advance"] + step, 0.0, 1.0)
        strength = jnp.zeros(())
        if not plan.over:
            ramp = signals.progress / self.begin if self.begin else 1.0
            strength = self.penalty * jnp.where(begun, gate, ramp)
            learner, state = self._switched_off(learner, state, advance, begun * gate > 0)
        running = {**state[RUNNING], "strength": strength}
        state = {**state, "advance": advance, "progress": signals.progress, RUNNING: running}
        found = {"epsilon": self.epsilon * _cubic(advance), "gate": gate, "strength": strength}
        for part in learner.network_parts:
            for name, network in learner.networks(part).items():
                found[f"kept_{name}"] = jnp.asarray(neurons.weights(network))
                if not neurons.widths(network):
                    continue
                found[f"neurons_{name}"] = jnp.sum(state["alive"][name]).astype(jnp.int32)
                found[f"importance_{name}"] = neurons.shares(running["importance"][name], network)
                on = neurons.by_layer(state["alive"][name], network)
                weighed = neurons.by_layer(running["importance"][name], network)
                found[f"narrowest_{name}"] = jnp.min(jnp.stack([jnp.sum(a) for a in on]))
                found[f"dead_layers_{name}"] = jnp.sum(
                    jnp.stack([jnp.sum(layer) == 0 for layer in weighed])
                )
        return learner, state, found

    def warnings(self, figures: dict[str, Any]) -> list[str]:
        return [
            f"{name.removeprefix('narrowest_')} is down to {FEWEST} neurons in a layer, the fewest "
            "that stay."
            for name, value in figures.items()
            if name.startswith("narrowest_") and value <= FEWEST
        ] + [
            f"{name.removeprefix('dead_layers_')} has a layer without any importance: all its "
            "neurons are dead, or nothing was learned yet. None of them goes."
            for name, value in figures.items()
            if name.startswith("dead_layers_") and value
        ]

    @property
    def before_step(self) -> BeforeStep:
        in_gradient = bool(self.penalty) and self.penalty_step == "gradient"
        return group_penalty.observing(self.importance, in_gradient)

    @property
    def after_step(self) -> AfterStep | None:
        if not self.penalty or self.penalty_step != "proximal":
            return None
        return group_penalty.shrunk

    def _switched_off(
        self, learner: Learner, state: MethodState, advance: jax.Array, may: jax.Array
    ) -> tuple[Learner, MethodState]:
        """Those neurons that the threshold says, if any `may` go."""
        alive, lost = {}, {}
        for part in learner.network_parts:
            beside = _beside_actor(part, learner.roles)
            limit = _cubic(advance) * (self.critic_epsilon if beside else self.epsilon)
            for name, network in learner.networks(part).items():
                widest, fewest = state["widest"][name], state["fewest"][name]
                layers = zip(
                    neurons.by_layer(state[RUNNING]["importance"][name], network),
                    neurons.by_layer(state["alive"][name], network),
                    state["lost"][name],
                    widest * (fewest / widest) ** advance,
                    strict=True,
                )
                after = [neurons.weeded(*layer, limit, may) for layer in layers]
                alive[name] = neurons.joined([mask for mask, _ in after])
                lost[name] = neurons.joined([share[None] for _, share in after])
        silenced = transport.along(learner, lambda name, n: neurons.scaled(n, alive[name]))
        return silenced, {**state, "alive": alive, "lost": lost}


def _cut(
    learner: Learner, state: MethodState, widths: dict[str, tuple[int, ...]]
) -> tuple[Learner, MethodState]:
    """Without the neurons that are off: the same function, in smaller matrices."""
    kept, importance = {}, {}
    for part in learner.network_parts:
        for name, network in learner.networks(part).items():
            alive = neurons.by_layer(state["alive"][name], network)
            pairs = zip(alive, widths[name], strict=True)
            kept[name] = [jnp.nonzero(layer, size=width)[0] for layer, width in pairs]
            old = neurons.by_layer(state[RUNNING]["importance"][name], network)
            left = [layer[at] for layer, at in zip(old, kept[name], strict=True)]
            importance[name] = neurons.joined(left)
    learner = transport.along(learner, lambda name, network: neurons.narrowed(network, kept[name]))
    return learner, {
        **state,
        "alive": {name: jnp.ones(len(values)) for name, values in importance.items()},
        RUNNING: {**state[RUNNING], "importance": importance},
    }


def _cubic(advance: jax.Array) -> jax.Array:
    return 1.0 - (1.0 - advance) ** 3


def _beside_actor(part: str, roles: Mapping[str, Role]) -> bool:
    """Whether networks of a part serve an actor; those of a DQN act themselves."""
    return roles[part] != "actor" and "actor" in roles.values()
