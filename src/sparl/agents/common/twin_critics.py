"""What TD3 and SAC share: twin critics beside an actor, and features learned for both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import validation
from sparl.agents.agent import Actions, Agent
from sparl.agents.common import ofenet
from sparl.agents.common.of_networks import check_widths
from sparl.agents.common.ofenet import OFENet
from sparl.agents.common.off_policy import OffPolicyAgent
from sparl.errors import BadValue
from sparl.networks import Networks, apply_all


@dataclass(frozen=True)
class TwinCriticAgent(OffPolicyAgent):
    """Hyperparameters of agents whose critics are other networks than the one that acts."""

    actions: ClassVar[Actions] = "continuous"
    roles: ClassVar[Any] = {"actor": "actor", "critics": "critic"}

    critic_hidden: tuple[int, ...] = ()
    """Widths of the critics' hidden layers, if others than --hidden."""
    policy_delay: int = 1
    """Critic updates to one update of the policy."""
    pessimism: Literal["min", "mean"] = "min"
    """Which value two critics give together. min: the smaller one (1802.09477). mean: their mean,
    which underestimates less, as small actors need it (2506.01016)."""
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
        validation.one_of(("min", "mean"), pessimism=self.pessimism)
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
                f"representation_units is {self.representation_units}: it must be at least "
                f"representation_layers, {self.representation_layers}"
            )
        if self.representation != "none" and self.n_step > 1:
            raise BadValue(
                f"n_step is {self.n_step}: a representation predicts the next observation, which "
                "such a batch does not have. Leave one of the two out"
            )
        validation.positive(
            critic_hidden=min(self.critic_hidden, default=1), policy_delay=self.policy_delay
        )
        check_widths(self.network, self.critic_hidden)

    @property
    def critic_outputs(self) -> int:
        """Numbers that a critic gives of an observation with an action."""
        return 1

    def critics(self, keys: jax.Array, observation_size: int, action_size: int) -> Networks:
        """`critic_0`, `critic_1`, dense, which read an observation with an action."""
        features = self.ofenet.units if self.ofenet else 0
        inputs = observation_size + action_size + features
        sizes = (inputs, *(self.critic_hidden or self.hidden), self.critic_outputs)
        return {f"critic_{i}": self.build(key, sizes) for i, key in enumerate(keys)}

    def due(self, update: int) -> frozenset[str]:
        delayed = (update + 1) % self.policy_delay == 0
        return super().due(update) if delayed else frozenset({"critics"})

    def together(self, q: Float[Array, "critics batch"]) -> Float[Array, " batch"]:
        """The one value that the critics' values are taken for."""
        return jnp.min(q, axis=0) if self.pessimism == "min" else jnp.mean(q, axis=0)

    def q_value(
        self, critics: Networks, inputs: Float[Array, "obs_act batch"]
    ) -> Float[Array, " batch"]:
        """The critics' value in evaluation mode: the smaller one, or as `pessimism` says."""
        return self.together(apply_all(critics, inputs)[:, 0])

    def learning_rate_of(self, part: str) -> float:
        # A representation's is what the paper has, whatever the agent's is.
        return ofenet.LEARNING_RATE if part == ofenet.PART else super().learning_rate_of(part)

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

    def continued(self, step: int) -> Agent:
        # What is continued has learned its representation.
        shifted = replace(self, representation_updates=0) if step else self
        return super(TwinCriticAgent, shifted).continued(step)
