"""A representation of observations that is learned beside the agent, and not by its losses.

OFENet (2003.01629), as in "training larger networks" (2102.07920). A tower of dense blocks makes
z_s of an observation: the observation itself and U features. A second one makes z_sa of z_s and an
action: both, and U more. Actors read z_s, critics z_sa. What trains them is the prediction of the
next observation from z_sa by a linear layer: mean squared error, an Adam of its own, and a batch of
its own in every update. The agent's losses see them as they are, batch norms by their running
statistics; the actor's is differentiated through z_sa with respect to the action alone.

The networks are a part of the learner like an actor: methods make them sparse as they make others.
To an agent a batch has z_s for observations, and `critic_inputs` is all that it knows of it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl.learner import AgentState
from sparl.networks import Networks, build, by_batch, feature_tower
from sparl.replay import Batch

PART = "representation"
STATE, ACTION, PREDICTION = "state_branch", "action_branch", "prediction"
METRICS = {"representation_loss": "train/representation_loss"}
LEARNING_RATE = 3e-4
"""Of its own Adam."""


class OFENet(NamedTuple):
    """What an agent's hyperparameters say of its representation."""

    units: int
    """Features that each of the two towers adds."""
    layers: int
    """Blocks of a tower, which share its units."""
    targets: int
    """Leading components of the next observation that are predicted; 0 for all."""
    updates: int
    """Of the representation alone, before the agent's begin."""

    @property
    def widths(self) -> list[int]:
        """Units of each block of a tower; the first ones take what does not divide."""
        share, over = divmod(self.units, self.layers)
        return [share + (i < over) for i in range(self.layers)]


def init(
    ofenet: OFENet, key: jax.Array, observation_size: int, action_size: int
) -> dict[str, Networks]:
    """The part of the learner: the two towers and the prediction, dense."""
    state_key, action_key, prediction_key = jax.random.split(key, 3)
    inputs = observation_size + ofenet.units + action_size
    predicted = ofenet.targets or observation_size
    networks = {
        STATE: feature_tower(state_key, observation_size, ofenet.widths, "swish"),
        ACTION: feature_tower(action_key, inputs, ofenet.widths, "swish"),
        PREDICTION: build(prediction_key, (inputs + ofenet.units, predicted)),
    }
    return {PART: networks}


def critic_inputs(
    state: AgentState, observation: Float[Array, "obs batch"], action: Float[Array, "act batch"]
) -> Float[Array, "obs_act batch"]:
    """What critics read: z_sa; without a representation the observation and the action."""
    both = jnp.concatenate([observation, action])
    return state.online(PART)[ACTION](both) if state.has(PART) else both


def represented(state: AgentState, batch: Batch) -> Batch:
    """The batch with z_s in place of observations."""
    tower = state.online(PART)[STATE]
    return batch._replace(
        observation=tower(batch.observation.T).T,
        next_observation=tower(batch.next_observation.T).T,
    )


def update(state: AgentState, batch: Batch) -> tuple[AgentState, dict[str, jax.Array]]:
    """One step on the error of prediction; batch norms go by the batch, and take it in."""

    def prediction_loss(networks: Networks) -> tuple[jax.Array, Networks]:
        z_s, after_state = by_batch(networks[STATE], batch.observation.T)
        both = jnp.concatenate([z_s, batch.action.T])
        z_sa, after_action = by_batch(networks[ACTION], both)
        predicted = networks[PREDICTION](z_sa)
        error = predicted - batch.next_observation.T[: len(predicted)]
        return jnp.mean(error**2), {**networks, STATE: after_state, ACTION: after_action}

    state, loss, seen = state.step(PART, prediction_loss)
    return state.with_statistics(PART, seen), {"representation_loss": loss}
