"""DSP: dynamic structured pruning by neuron importance (2402.05146, 2024).

The paper says:
- A group sparse regularizer is weighted by the importance of neurons: it penalises those that do
  not significantly influence the output.
- A dynamic threshold removes unimportant neurons gradually, by a binary mask, during training.
- 93 % of a DQN's neurons, 96 % of its weights, went with slight loss. We have no formulas or sizes.

Our reading:
- A group is a hidden neuron: its incoming row, its bias, its outgoing column.
- Importance: I_j = moving average of |sum over the batch of a_j dL/da_j|, the first-order change
  of the loss without the neuron.
- Penalty: lambda(t) sum_j c_j sqrt(size of group) ||theta_j|| with c_j = 1 - I_j / max I of the
  layer, a constant to the gradient. It is a proximal step (group soft threshold) after the
  optimizer, or a part of the gradient. lambda rises from 0 until pruning begins. It is 0 while the
  gate is closed and when pruning is over.
- Gate: it is open while the recent return is near the best so far, by its distance from the
  lowest, and by its noise if `gate_errors` is set.
- Threshold: the least important neurons of a layer are dropped under two limits. All dropped
  neurons together have held at most the share epsilon(t) of the layer's importance, each measured
  when it was dropped. And at least as many neurons stay as a geometric path from all neurons to the
  fewest allows. Both paths (epsilon's is cubic) advance only while the gate is open.
- A dropped neuron is first switched off: its whole group is zero, in moments and targets, too. It
  stays zero, because no gradient reaches it: activations map 0 to 0, and the weights behind it are
  0. So the mask is monotone. What it gave as a constant, by a batch norm, enters the next biases.
- At a later restructuring with an open gate, neurons that are off are cut out, if that saves a
  fifth of the weights, and until the end more than a compilation takes; at the last one always.
- At least 2 neurons stay in a layer of `neurons.hidden`, and a share of it, larger in critics.
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
from sparl.methods.common.cutting import cut_out
from sparl.methods.common.gated import Gated
from sparl.methods.common.importance import drop_least_important, relative_importance
from sparl.methods.common.method import (
    RUNNING,
    AfterStep,
    BeforeStep,
    MethodState,
    Signals,
    TrainingProgress,
    check_window,
)
from sparl.networks import Networks

SAVING = 0.2
"""The least share of the weights that a cut must remove."""
COMPILATION = 1000
"""The time of a compilation, in updates of the networks as they were at the start."""
FEWEST = 2
"""The least number of neurons that stay in any layer."""
PACE = 0.6
"""The share of the time for pruning that pruning takes if the gate never closes."""


class Plan(NamedTuple):
    """The static part of a restructuring, which must be known while compiling."""

    over: bool
    """Whether pruning ends here."""
    widths: tuple[tuple[str, tuple[int, ...]], ...] | None
    """For each network the widths of the hidden layers after the cut; None for no cut."""


@dataclass(frozen=True)
class DSP(Gated):
    """Start dense; penalise, switch off and cut out the least important neurons (2402.05146)."""

    name: ClassVar[str] = "dsp"
    prunes: ClassVar[bool] = True
    finishes: ClassVar[bool] = True
    shapes_by_seed: ClassVar[bool] = True

    interval: int = 1000
    """Updates between two checks of the neurons."""
    begin: float = 0.4
    """Share of the run's updates before the first neurons are dropped."""
    end: float = 0.9
    """Share of the run's updates after which no more neurons are dropped."""
    epsilon: float = 1.0
    """Most of a layer's importance, as a share, that dropped neurons may have held at the end."""
    critic_epsilon: float = 0.5
    """Like epsilon, for critics beside an actor."""
    floor: float = 0.06
    """Share of a layer's neurons that always stays."""
    critic_floor: float = 0.3
    """Like floor, for critics beside an actor: studies find that actors bear more (2206.10369)."""
    penalty: float = 0.01
    """lambda, the weight of the group sparse penalty."""
    penalty_step: Literal["proximal", "gradient"] = "proximal"
    """proximal: groups are shrunk after each optimizer step. gradient: the penalty's gradient is
    added to the loss's."""
    importance: group_penalty.Importance = "taylor"
    """taylor: first-order change of the loss without the neuron. magnitude: norm of its group."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.at_least(1, interval=self.interval)
        check_window(self.begin, self.end)
        shares = ("epsilon", "critic_epsilon", "floor", "critic_floor")
        validation.fractions(**{name: getattr(self, name) for name in shares})
        validation.at_least(0, penalty=self.penalty)
        validation.one_of(("proximal", "gradient"), penalty_step=self.penalty_step)
        validation.one_of(("taylor", "magnitude"), importance=self.importance)

    def start(
        self, networks: dict[str, Networks], key: jax.Array, roles: Mapping[str, Role]
    ) -> tuple[dict[str, Networks], MethodState]:
        """Leaves the networks dense.

        The state has by network `alive`, 1 for each neuron that is on, and by layer the share of
        importance that was `lost`, its `widest` and `fewest` neurons. `advance` is how far the
        paths have come, up to 1; `progress` the time of the last check; `weights` the number at the
        start. RUNNING has the importance of each neuron, and the penalty's strength."""
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

    def notes(
        self, networks: dict[str, Networks], roles: Mapping[str, Role], updates: int | None
    ) -> list[str]:
        all_networks = {name: n for group in networks.values() for name, n in group.items()}
        whole = ", ".join(name for name, n in all_networks.items() if not neurons.widths(n))
        texts = [f"No neuron of {whole} can be cut out alone: all stay."] if whole else []
        # Checks up to `begin` drop nothing, nor does the last.
        if updates and self._last(updates) - self.interval <= self.begin * updates:
            texts.append(
                f"In {updates} updates no neuron can go: checks come every {self.interval}, and "
                f"drop neurons from {self.begin:.0%} to {self.end:.0%} of the run. Lower interval."
            )
        return texts

    def fewest(self, widths: Sequence[int], part: str, roles: Mapping[str, Role]) -> list[int]:
        """The least number of neurons that stay in each layer of a network of `part`."""
        floor = self.critic_floor if _serves_actor(part, roles) else self.floor
        return [min(width, max(FEWEST, math.ceil(floor * width))) for width in widths]

    def stage(self, update: int, updates: int) -> Hashable | None:
        """The stage "look" after every `interval` updates, and "end" after the last of them."""
        last = self._last(updates)
        if update % self.interval or update > last:
            return None
        return "end" if update == last else "look"

    def _last(self, updates: int) -> int:
        """The last check, which ends the pruning."""
        return max(1, math.floor(self.end * updates / self.interval)) * self.interval

    def plan(
        self, stage: Hashable, learner: Learner, state: MethodState, progress: TrainingProgress
    ) -> Plan:
        """Decides whether pruning is over, and whether neurons that are off are cut out."""
        before, after, widths = 0, 0, []
        for part in learner.network_parts:
            for name, network in learner.structures[part].outline().items():
                alive = neurons.by_layer(np.asarray(state["alive"][name]), network)
                widths.append((name, tuple(int(np.count_nonzero(layer)) for layer in alive)))
                before += neurons.weights(network)
                after += neurons.weights_between(network, widths[-1][1])
        saved, over = before - after, stage == "end"
        pays = (progress.updates - progress.update) * saved >= COMPILATION * int(state["weights"])
        holds = bool(self.holds(progress.returns))
        due = pays and saved >= SAVING * before and holds
        return Plan(over, tuple(widths) if saved and (due or over) else None)

    def restructure(
        self, learner: Learner, state: MethodState, signals: Signals
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """Cuts neurons out if the plan says so, then switches off those below the threshold.

        Figures: `neurons_NETWORK` that are on; `narrowest_NETWORK`, those of the narrowest layer;
        `dead_layers_NETWORK`, layers without importance; `kept_NETWORK` weights; `epsilon`; `gate`;
        the penalty's `strength`. Vectors: `importance_NETWORK`, as shares of a layer's largest.
        """
        plan = signals.stage
        assert isinstance(plan, Plan)
        if plan.widths is not None:
            learner, state = cut_out(learner, state, dict(plan.widths))
        gate = jnp.asarray(self.holds(signals.returns), jnp.float32)
        begun = signals.progress > self.begin
        elapsed = signals.progress - jnp.maximum(state["progress"], self.begin)
        step = begun * gate * elapsed / (PACE * (self.end - self.begin))
        advance = jnp.clip(state["advance"] + step, 0.0, 1.0)
        strength = jnp.zeros(())
        if not plan.over:
            ramp = signals.progress / self.begin if self.begin else 1.0
            strength = self.penalty * jnp.where(begun, gate, ramp)
            learner, state = self._switch_off(learner, state, advance, begun * gate > 0)
        running = {**state[RUNNING], "strength": strength}
        state = {**state, "advance": advance, "progress": signals.progress, RUNNING: running}
        logged = {"epsilon": self.epsilon * _cubic(advance), "gate": gate, "strength": strength}
        for part in learner.network_parts:
            for name, network in learner.networks(part).items():
                logged[f"kept_{name}"] = jnp.asarray(neurons.weights(network))
                if not neurons.widths(network):
                    continue
                logged[f"neurons_{name}"] = jnp.sum(state["alive"][name]).astype(jnp.int32)
                importance = running["importance"][name]
                logged[f"importance_{name}"] = relative_importance(importance, network)
                counts = [jnp.sum(a) for a in neurons.by_layer(state["alive"][name], network)]
                logged[f"narrowest_{name}"] = jnp.min(jnp.stack(counts))
                dead = [jnp.sum(i) == 0 for i in neurons.by_layer(importance, network)]
                logged[f"dead_layers_{name}"] = jnp.sum(jnp.stack(dead))
        return learner, state, logged

    def warnings(self, figures: dict[str, Any]) -> list[str]:
        return [
            f"{name.removeprefix('narrowest_')} is down to {FEWEST} neurons in a layer, the fewest "
            "that stay."
            for name, value in figures.items()
            if name.startswith("narrowest_") and value <= FEWEST
        ] + [
            f"{name.removeprefix('dead_layers_')} has a layer without any importance: all its "
            "neurons are dead, or nothing was learned yet. It keeps all its neurons."
            for name, value in figures.items()
            if name.startswith("dead_layers_") and value
        ]

    @property
    def before_step(self) -> BeforeStep:
        """Measures importance, and adds the penalty's gradient where it is a gradient."""
        in_gradient = bool(self.penalty) and self.penalty_step == "gradient"
        return group_penalty.importance_hook(self.importance, in_gradient)

    @property
    def after_step(self) -> AfterStep | None:
        """The penalty's proximal step, where it is one."""
        if not self.penalty or self.penalty_step != "proximal":
            return None
        return group_penalty.proximal_step

    def _switch_off(
        self, learner: Learner, state: MethodState, advance: jax.Array, allowed: jax.Array
    ) -> tuple[Learner, MethodState]:
        """Switches off the neurons below the threshold, if it is `allowed`."""
        alive, lost = {}, {}
        for part in learner.network_parts:
            is_critic = _serves_actor(part, learner.roles)
            limit = _cubic(advance) * (self.critic_epsilon if is_critic else self.epsilon)
            for name, network in learner.networks(part).items():
                widest, fewest = state["widest"][name], state["fewest"][name]
                importance = neurons.by_layer(state[RUNNING]["importance"][name], network)
                on = neurons.by_layer(state["alive"][name], network)
                least = widest * (fewest / widest) ** advance
                layers = zip(importance, on, state["lost"][name], least, strict=True)
                after = [drop_least_important(*la, limit, allowed) for la in layers]
                alive[name] = neurons.concatenate([mask for mask, _ in after])
                lost[name] = neurons.concatenate([share[None] for _, share in after])
        dropped = {name: state["alive"][name] - alive[name] for name in alive}
        folded = transport.revalued(learner, lambda n, net: neurons.fold_constants(net, dropped[n]))
        masked = transport.along(folded, lambda n, net: neurons.scale_neurons(net, alive[n]))
        return masked, {**state, "alive": alive, "lost": lost}


def _cubic(advance: jax.Array) -> jax.Array:
    """The cubic path from 0 to 1 of epsilon."""
    return 1.0 - (1.0 - advance) ** 3


def _serves_actor(part: str, roles: Mapping[str, Role]) -> bool:
    """Whether the networks of a part are critics of an actor; those of a DQN act themselves."""
    return roles[part] != "actor" and "actor" in roles.values()
