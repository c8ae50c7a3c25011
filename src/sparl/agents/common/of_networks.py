"""What options of an agent's networks do not go together."""

from __future__ import annotations

from typing import Any

from sparl import validation
from sparl.errors import BadValue
from sparl.kernels import ACTIVATIONS
from sparl.networks import KINDS, Kind


def check(agent: Any) -> None:
    """Raises `BadValue` for networks that an agent cannot have."""
    validation.positive(hidden=min(agent.hidden, default=0))
    validation.one_of(KINDS, network=agent.network)
    validation.one_of(ACTIVATIONS, activation=agent.activation)
    check_widths(agent.network, agent.hidden)
    validation.one_of(("none", "batch", "layer"), norm=agent.norm)
    validation.one_of(("before", "behind"), norm_place=agent.norm_place)
    if agent.renorm_from is not None:
        validation.at_least(0, renorm_from=agent.renorm_from)
    if agent.norm != "none" and agent.network == "simba":
        raise BadValue(f"norm is {agent.norm}: a simba has layer norms of its own")
    if agent.norm == "batch" and agent.batch_size < 2:
        raise BadValue(
            f"batch_size is {agent.batch_size}: a batch norm needs 2 samples at least, and more "
            "are better"
        )


def check_widths(network: Kind, hidden: tuple[int, ...]) -> None:
    """Raises `BadValue` for widths that a kind of network cannot have."""
    if network == "simba" and len(set(hidden)) > 1:
        raise BadValue(
            f"hidden is {' '.join(map(str, hidden))}: a simba has one width throughout, given "
            "once for each block, for example 128 128"
        )
