"""How the layers of networks are stored, as JSON, and blank networks made by that.

What a checkpoint, or a weight update on its way to another process, must tell besides the numbers.
"""

from __future__ import annotations

from typing import Any

from sparl.errors import BadCheckpoint
from sparl.layouts import blank, describe
from sparl.networks import accounting
from sparl.networks.accounting import Shapes
from sparl.networks.network import Networks

Layouts = dict[str, list[dict[str, Any]]]
"""Of networks by name: of each layer `layouts.describe`."""


def described(networks: Networks) -> Layouts:
    """Of networks, or of their outlines."""
    return {name: [describe(layer) for layer in n.layers] for name, n in networks.items()}


def blanks(layouts: Layouts, outline: Networks) -> Networks:
    """Networks of zeros in those layouts, otherwise as `outline`."""
    return {
        name: network.blank([blank(layer) for layer in layouts[name]])
        for name, network in outline.items()
    }


def shapes(parts: dict[str, Networks]) -> dict[str, Shapes]:
    """(out, in) of every layer, by network."""
    return {
        name: accounting.shapes_of(network)
        for group in parts.values()
        for name, network in group.items()
    }


def refuse_misfit(parts: dict[str, Layouts], originals: dict[str, Shapes]) -> None:
    """Raises `BadCheckpoint` for layouts that cannot have come of networks of those shapes."""
    found = {
        name: tuple(tuple(layer["shape"]) for layer in layers)
        for networks in parts.values()
        for name, layers in networks.items()
    }
    fits = found.keys() == originals.keys() and all(
        # Neurons may have been cut out since.
        len(was) == len(found[name])
        and was[0][1] == found[name][0][1]
        and was[-1][0] == found[name][-1][0]
        and all(now[0] <= before[0] for now, before in zip(found[name], was, strict=True))
        for name, was in originals.items()
    )
    if not fits:
        raise BadCheckpoint(
            f"the checkpoint does not fit the run's config.json: its networks are {found}, and "
            f"those of the agent {originals}"
        )
