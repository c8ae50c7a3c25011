"""The networks of any agent, each with what it sees of an observation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from sparl.networks import Network, Ranges, range_size
from sparl.replay import Columns


def networks(agent: Any, key: jax.Array, columns: Columns) -> dict[str, dict[str, Any]]:
    """All parts of an agent, dense, as `Agent.networks` gives them.

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
