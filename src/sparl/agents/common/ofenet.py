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

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sparl.agents.common import viewed
from sparl.learner import AgentState, Role
from sparl.networks import Network, Networks, build, by_batch, feature_tower, then
from sparl.replay import Batch, Columns

PART = "representation"
STATE, ACTION, PREDICTION = "state_branch", "action_branch", "prediction"
METRICS = {"representation_loss": "train/representation_loss"}
LEARNING_RATE = 3e-4


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


def dense_parts(agent: Any, key: jax.Array, columns: Columns) -> dict[str, Any]:
    """All parts of a learner, dense: those of `agent`, and the representation if it has one.

    The agent's networks read its features then, and are drawn by the same key as without it.
    """
    ofenet = agent.ofenet
    if ofenet is None:
        return viewed.networks(agent, key, columns)
    sizes = columns.observation_size, columns.action_size
    own = init(ofenet, jax.random.fold_in(key, 0), *sizes)
    return own | agent.networks(key, sizes[0] + ofenet.units, sizes[1])


def optimizer(agent: Any, part: str) -> optax.GradientTransformation:
    """That of a part: the agent's own, or the representation's Adam."""
    return optax.adam(LEARNING_RATE) if part == PART else agent.optimizer(part)


def roles(agent: Any) -> dict[str, Role]:
    """What the networks of each part are for."""
    own: dict[str, Role] = {PART: "representation"} if agent.ofenet else {}
    return own | dict(agent.roles)


def metrics(agent: Any) -> dict[str, str]:
    """What an update tells, with the name of each in TensorBoard."""
    return dict(agent.metrics) | (METRICS if agent.ofenet else {})


def critic_inputs(
    state: AgentState, observation: Float[Array, "obs batch"], action: Float[Array, "act batch"]
) -> Float[Array, "obs_act batch"]:
    """What critics read: z_sa; without a representation the observation and the action."""
    both = jnp.concatenate([observation, action])
    return state.online(PART)[ACTION](both) if state.has(PART) else both


def acting(agent: Any) -> tuple[tuple[str, str], ...]:
    """The networks that act, one behind the other: (part, name) of each."""
    return ((PART, STATE), agent.acting) if agent.ofenet else (agent.acting,)


def policy(agent: Any, networks: dict[str, Networks]) -> Network:
    """What is saved of an agent's networks, by part: what acts on observations, which is behind the
    state branch where there is one."""
    network = agent.policy(networks[agent.acting[0]])
    return then(networks[PART][STATE], network) if PART in networks else network


def dense_policy(agent: Any, observation_size: int, action_size: int) -> Network:
    """The policy as it was before the method started; shapes in place of arrays."""

    def made(key: jax.Array) -> Network:
        return policy(agent, dense_parts(agent, key, Columns(observation_size, action_size)))

    return jax.eval_shape(made, jax.random.key(0))


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
