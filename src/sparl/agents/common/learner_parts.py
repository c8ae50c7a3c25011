"""The parts of a learner, whatever the agent: its networks, what each sees of an observation, what
they are for, and which of them act. A representation (OFENet) is a part beside the agent's own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import optax

from sparl.agents.common import ofenet
from sparl.learner import Role
from sparl.networks import Network, Networks, Ranges, range_size, then
from sparl.replay import Columns


def dense_parts(agent: Any, key: jax.Array, columns: Columns) -> dict[str, Any]:
    """All parts of a learner, dense: those of `agent`, and the representation if it has one.

    The agent's networks read its features then, and are drawn by the same key as without it.
    """
    spec = agent.ofenet
    if spec is None:
        return _seen(agent, key, columns)
    sizes = columns.observation_size, columns.action_size
    own = ofenet.init(spec, jax.random.fold_in(key, 0), *sizes)
    return own | agent.networks(key, sizes[0] + spec.units, sizes[1])


def optimizer(agent: Any, part: str) -> optax.GradientTransformation:
    """That of a part: the agent's own, or the representation's Adam."""
    return optax.adam(ofenet.LEARNING_RATE) if part == ofenet.PART else agent.optimizer(part)


def roles(agent: Any) -> dict[str, Role]:
    """What the networks of each part are for."""
    own: dict[str, Role] = {ofenet.PART: "representation"} if agent.ofenet else {}
    return own | dict(agent.roles)


def metrics(agent: Any) -> dict[str, str]:
    """What an update tells, with the name of each in TensorBoard."""
    return dict(agent.metrics) | (ofenet.METRICS if agent.ofenet else {})


def acting(agent: Any) -> tuple[tuple[str, str], ...]:
    """The networks that act, one behind the other: (part, name) of each."""
    return ((ofenet.PART, ofenet.STATE), agent.acting) if agent.ofenet else (agent.acting,)


def policy(agent: Any, networks: dict[str, Networks]) -> Network:
    """What is saved of an agent's networks, by part: what acts on observations, which is behind the
    state branch where there is one."""
    network = agent.policy(networks[agent.acting[0]])
    return (
        then(networks[ofenet.PART][ofenet.STATE], network) if ofenet.PART in networks else network
    )


def dense_policy(agent: Any, observation_size: int, action_size: int) -> Network:
    """The policy as it was before the method started; shapes in place of arrays."""

    def made(key: jax.Array) -> Network:
        return policy(agent, dense_parts(agent, key, Columns(observation_size, action_size)))

    return jax.eval_shape(made, jax.random.key(0))


def _seen(agent: Any, key: jax.Array, columns: Columns) -> dict[str, dict[str, Any]]:
    """All parts of an agent, dense, each network with what it sees of an observation.

    Each network has the inputs that its view leaves. What it reads behind the observation, as
    critics read an action, it sees whole.
    """
    size, views = columns.observation_size, columns.views
    if views.acting is None and views.others is None:
        return agent.networks(key, size, columns.action_size)

    def parts(view: Ranges | None) -> dict[str, dict[str, Any]]:
        seen = size if view is None else range_size(view)

        def viewed(network: Any) -> Any:
            if view is None or not isinstance(network, Network):
                return network
            behind = network.in_features - seen
            ranges = (*view, (size, size + behind)) if behind else view
            return replace(network, inputs=ranges)

        made = agent.networks(key, seen, columns.action_size)
        return {
            part: {name: viewed(network) for name, network in content.items()}
            for part, content in made.items()
        }

    acting, others = parts(views.acting), parts(views.others)
    return {part: (acting if part == agent.acting[0] else others)[part] for part in others}
