"""What agents share: the batch they learn from, common hyperparameters, and small pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32

from sparl import validation
from sparl.agents.common.ofenet import LEARNING_RATE, PART, OFENet
from sparl.errors import BadValue
from sparl.kernels import ACTIVATIONS, Activation
from sparl.learner import Part
from sparl.networks import KINDS, Kind, Network, Networks, all_of, build

Actions = Literal["continuous", "discrete"]
"""What an agent acts by: numbers in [-1, 1], or one choice out of several."""


@dataclass(frozen=True)
class AgentConfig:
    """Hyperparameters that every agent has; those that the loop itself reads are among them."""

    network: Kind = "mlp"
    """How layers are connected. mlp: one after the other. densenet: each reads all before it
    (2102.07920). d2rl: each reads the observation again (2010.09163). simba: residual blocks behind
    layer norms (2410.09754)."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers, of every network; of a simba one for each block, all alike."""
    activation: Activation = "relu"
    """Between layers; swish is also known as SiLU."""
    learning_rate: float = 3e-4
    """Adam's step size, for everything that is trained."""
    weight_decay: float = 0.0
    """Times the weights, added to their gradient before Adam (L2, not AdamW's decay)."""
    decoupled_weight_decay: float = 0.0
    """AdamW's: times learning rate and weights, taken off them in every step (1711.05101)."""
    batch_size: int = 256
    """Transitions in one update."""
    gamma: float = 0.99
    """Discount of future rewards."""
    learning_starts: int = 10_000
    """Steps of uniformly random actions, without updates, before learning begins."""

    def __post_init__(self) -> None:
        validation.positive(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            hidden=min(self.hidden, default=0),
        )
        validation.one_of(KINDS, network=self.network)
        validation.one_of(ACTIVATIONS, activation=self.activation)
        self._check_widths(self.hidden)
        validation.fractions(gamma=self.gamma)
        validation.at_least(
            0,
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.decoupled_weight_decay,
            learning_starts=self.learning_starts,
        )

    @property
    def ofenet(self) -> OFENet | None:
        """The representation that is learned beside the agent, if there is one."""
        return None

    @property
    def updates_before(self) -> int:
        """Updates of the representation alone, before the agent's begin."""
        return self.ofenet.updates if self.ofenet else 0

    @property
    def rows_per_update(self) -> int:
        """Transitions that an update takes: a representation has a batch of its own."""
        return self.batch_size * (2 if self.ofenet else 1)

    @property
    def steps_per_update(self) -> int:
        """Environment steps between two updates, once learning has begun."""
        return 1

    def built(self, key: jax.Array, sizes: Sequence[int], squash: bool = False) -> Network:
        """A dense network from `sizes`: inputs, hidden widths, outputs."""
        return build(key, sizes, squash, self.network, self.activation)

    def _check_widths(self, hidden: tuple[int, ...]) -> None:
        if self.network == "simba" and len(set(hidden)) > 1:
            raise BadValue(
                f"hidden is {' '.join(map(str, hidden))}: a simba has one width throughout, given "
                "once for each block, for example 128 128"
            )

    def rate_of(self, part: str) -> float:
        """Adam's step size for a part."""
        return self.learning_rate

    def continued(self, step: int) -> AgentConfig:
        """The same from an environment step on: for a run that begins with what another has
        learned until then, and counts its own steps from 0."""
        return replace(self, learning_starts=max(0, self.learning_starts - step))


@dataclass(frozen=True)
class OffPolicyConfig(AgentConfig):
    """Hyperparameters of agents that learn from a replay of all that they have done."""

    tau: float = 0.005
    """Share of the online network that goes into its target whenever that moves (Polyak)."""
    n_step: int = 1
    """Rewards summed before the target network's value takes over; fewer where an episode ends.
    Without off-policy correction, as in RLx2 (2205.15043)."""
    n_step_from: int = 0
    """Environment step from which --n-step rewards are summed; one reward before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.positive(n_step=self.n_step)
        validation.fractions(tau=self.tau)
        validation.at_least(0, n_step_from=self.n_step_from)

    def continued(self, step: int) -> AgentConfig:
        shifted = replace(self, n_step_from=max(0, self.n_step_from - step))
        return super(OffPolicyConfig, shifted).continued(step)


@dataclass(frozen=True)
class ActorCriticConfig(OffPolicyConfig):
    """Hyperparameters of agents whose critics are other networks than the one that acts."""

    critic_hidden: tuple[int, ...] = ()
    """Widths of the critics' hidden layers, if others than --hidden."""
    representation: Literal["none", "ofenet"] = "none"
    """What networks see of observations. ofenet: features that are learned by predicting the next
    one, beside the agent (2003.01629, 2102.07920)."""
    representation_units: int = 240
    """Features that are made of an observation, and as many again of it with an action."""
    representation_layers: int = 6
    """Dense blocks that these are made in; the paper has 8 for HalfCheetah and Humanoid."""
    representation_targets: int = 0
    """Leading components of the next observation to predict; 0 for all. The paper leaves out
    contact forces, with 27 for Ant and 292 for Humanoid."""
    representation_updates: int = 10_000
    """Updates of the representation alone, before the agent's begin."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.one_of(("none", "ofenet"), representation=self.representation)
        validation.positive(
            representation_units=self.representation_units,
            representation_layers=self.representation_layers,
        )
        validation.at_least(
            0,
            representation_targets=self.representation_targets,
            representation_updates=self.representation_updates,
        )
        if self.representation_units < self.representation_layers:
            raise BadValue(
                f"representation-units is {self.representation_units}: it must be at least "
                f"--representation-layers, {self.representation_layers}"
            )
        if self.representation != "none" and self.n_step > 1:
            raise BadValue(
                f"n-step is {self.n_step}: a representation predicts the next observation, which "
                "such a batch does not have. Leave one of the two out"
            )
        validation.positive(critic_hidden=min(self.critic_hidden, default=1))
        self._check_widths(self.critic_hidden)

    def critic_sizes(self, observation_size: int, action_size: int) -> tuple[int, ...]:
        """Inputs, hidden widths and output of a critic, beside an actor that reads so many."""
        features = self.ofenet.units if self.ofenet else 0
        inputs = observation_size + action_size + features
        return (inputs, *(self.critic_hidden or self.hidden), 1)

    def rate_of(self, part: str) -> float:
        # Whatever the agent's is.
        return LEARNING_RATE if part == PART else super().rate_of(part)

    @property
    def ofenet(self) -> OFENet | None:
        if self.representation == "none":
            return None
        return OFENet(
            self.representation_units,
            self.representation_layers,
            self.representation_targets,
            self.representation_updates,
        )

    def continued(self, step: int) -> AgentConfig:
        # What is continued has learned its representation.
        shifted = replace(self, representation_updates=0) if step else self
        return super(ActorCriticConfig, shifted).continued(step)


def adam(config: AgentConfig, part: str) -> optax.GradientTransformation:
    """Adam (1412.6980) for a part, with decay of its weights where the config asks for it.

    L2's is added to the gradient, so Adam's moments see it: as PyTorch's Adam has it, and so the
    papers whose codes use that one (DS-TD3, 2106.04217). AdamW's goes by them.
    """
    rate, decay = config.rate_of(part), config.decoupled_weight_decay
    step = optax.adamw(rate, weight_decay=decay) if decay else optax.adam(rate)
    if not config.weight_decay:
        return step
    return optax.chain(optax.add_decayed_weights(config.weight_decay), step)


def smallest_q(critics: Networks, inputs: Float[Array, "obs_act batch"]) -> Float[Array, " batch"]:
    """The smaller of the critics' values (clipped double Q-learning, 1802.09477)."""
    return jnp.min(all_of(critics, inputs)[:, 0], axis=0)


def chosen(
    values: Float[Array, "choices batch"], choice: Int32[Array, " batch"]
) -> Float[Array, " batch"]:
    """Of each column, the value in the chosen row."""
    return jnp.take_along_axis(values, choice[None], axis=0)[0]


def polyak(part: Part, tau: float) -> Part:
    """`part` with its target moved towards its values by the share `tau`."""
    return part._replace(target=(1.0 - tau) * part.target + tau * part.values)
