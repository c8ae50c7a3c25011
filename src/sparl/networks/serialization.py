"""The layouts of networks as JSON, and networks of zeros made from that.

A checkpoint needs this besides its numbers, and so does a weight update on its way to another
process. The word `layouts` here always means the JSON: a description of every layer, by network.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile
from sparl.layouts import RowSparse, blank, describe
from sparl.networks import accounting
from sparl.networks.accounting import Shapes
from sparl.networks.network import Networks
from sparl.topology import Kept

Layouts = dict[str, list[dict[str, Any]]]
"""What `layouts.describe` gives for each layer, by network."""


def describe_networks(networks: Networks) -> Layouts:
    """The layouts of networks.

    Args:
        networks: By name. Their arrays may be stand-ins that have only a shape.
    """
    return {
        name: [describe(layer) for layer in network.layers] for name, network in networks.items()
    }


def blank_networks(layouts: Layouts, outline: Networks) -> Networks:
    """Networks with these layouts whose arrays are all zeros.

    Args:
        layouts: By network.
        outline: Networks with the same names; they give everything but the layers.

    Raises:
        BadFile: Layers that cannot be connected as those of the outline are.
    """
    if layouts.keys() != outline.keys():
        raise BadFile(
            f"the checkpoint does not fit the run's config.json: its networks are {list(layouts)}, "
            f"and those of the agent {list(outline)}",
            field="layouts",
        )
    for name, network in outline.items():
        misfit = network.wiring.misfit([tuple(layer["shape"]) for layer in layouts[name]])
        if misfit:
            raise BadFile(
                f"the checkpoint does not fit the run's config.json: in {name}, {misfit}",
                field=f"layouts.{name}",
            )
    return {
        name: network.blank([blank(layer) for layer in layouts[name]])
        for name, network in outline.items()
    }


def indices_of_groups(layouts: Layouts, indices: NDArray[np.int32]) -> NDArray[np.int32]:
    """The indices of a part's networks as one vector, from a checkpoint of any age.

    Checkpoints of sparl 0.2 have columns for every row, also where rows share them. Newer ones have
    them once for all these rows, and their indices are given back as they are.

    Args:
        layouts: By network.
        indices: Of all layers, network by network in the order of their names.
    """
    pieces, at = [], 0
    for layer in (layer for name in sorted(layouts) for layer in layouts[name]):
        outline = jax.eval_shape(partial(blank, layer))
        sizes = [leaf.size for leaf in jax.tree.leaves(outline) if leaf.dtype == jnp.int32]
        if isinstance(outline, RowSparse) and outline.columns.shape != outline.weight.shape:
            (outputs, inputs), kept = outline.shape, outline.kept
            columns = jnp.asarray(indices[at : at + kept])
            at += 3 * kept + outputs + inputs + 2
            if columns.size < kept:
                break
            row_starts = kept // outputs * jnp.arange(outputs + 1, dtype=jnp.int32)
            places = Kept(columns, row_starts)
            weight, bias = jnp.zeros(kept), jnp.zeros(outputs)
            packed = RowSparse.packed(weight, bias, inputs, outline.pattern, places)
            pieces += map(np.asarray, packed.places)
        else:
            pieces.append(indices[at : at + sum(sizes)])
            at += sum(sizes)
    return np.concatenate(pieces) if pieces and at == len(indices) else indices


def shapes(parts: dict[str, Networks]) -> dict[str, Shapes]:
    """(out, in) of every layer, by network.

    Args:
        parts: The networks of an agent, by part.
    """
    return {
        name: accounting.shapes_of(network)
        for networks in parts.values()
        for name, network in networks.items()
    }


def refuse_misfit(parts: dict[str, Layouts], originals: dict[str, Shapes]) -> None:
    """Checks that a checkpoint's layouts can belong to the networks of an agent.

    Hidden neurons may have been cut out since the networks were made; all else must agree.

    Args:
        parts: The layouts in the checkpoint, by part.
        originals: (out, in) of every layer when the networks were made, by network.

    Raises:
        BadFile: They cannot.
    """
    saved = {
        name: tuple(tuple(layer["shape"]) for layer in layers)
        for networks in parts.values()
        for name, layers in networks.items()
    }
    fits = saved.keys() == originals.keys() and all(
        _can_be_cut_to(original, saved[name]) for name, original in originals.items()
    )
    if not fits:
        raise BadFile(
            f"the checkpoint does not fit the run's config.json: its networks are {saved}, and "
            f"those of the agent {originals}",
            field="layouts",
            value=saved,
        )


def _can_be_cut_to(original: Shapes, saved: tuple[tuple[int, ...], ...]) -> bool:
    """Whether cutting hidden neurons out of layers of one shape can give the other."""
    return (
        len(original) == len(saved)
        and original[0][1] == saved[0][1]
        and original[-1][0] == saved[-1][0]
        and all(
            now[0] <= before[0] and now[1] <= before[1]
            for now, before in zip(saved, original, strict=True)
        )
    )
