"""Moving a learner from one set of layouts to another.

A change of topology is a change of coordinates. `move` takes anything aligned with a layer's
weights from the old coordinates to the new ones; `carry` applies it to all that is aligned with
them besides the values themselves: the target network, and every array of the optimizer's state
that has the values' shape. `along` does to all of these what is done to the networks, as when
neurons are cut out. No other place in the code touches them.

A stored weight may stand for several entries of the matrix (`Layout.copies`). Its gradient is then
the sum of theirs, so a first moment on its way to such a layout is multiplied by their number, and
a second moment by its square; on its way back it is divided by it: Adam goes on in steps of the
same size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from sparl.errors import BadValue
from sparl.layouts import Layout
from sparl.learner.state import Learner
from sparl.learner.structure import Part, Structure
from sparl.networks import Network, Networks

POWERS = {"mu": 1, "trace": 1, "nu": 2, "nu_max": 2, "sum_of_squares": 2}
"""Moments by optax's names, and the power of the gradient that each is an average of."""

Fill = Callable[[Layout], jax.Array | float]
"""What places take that only the new layer stores: a number, or a dense [out, in] matrix."""


def move(aligned: jax.Array, old: Layout, new: Layout, fill: jax.Array | float) -> jax.Array:
    """`aligned` with `old.weight` in the coordinates of `new`.

    Places that both layouts store keep their value, places that only `new` stores take `fill`
    (a number, or a dense [out, in] matrix), places that only `old` stores are dropped.
    """
    return new.pick(old.spread(aligned, fill))


def carry(learner: Learner, successors: dict[str, Networks]) -> Learner:
    """`learner` with the networks of `successors` in place of its own.

    Moments go along with the weights that stay, and are zero for woken ones. A target's weights
    keep their Polyak value; woken ones take the online value.

    Args:
        successors: By part, networks in their new layouts with their online values: what a woken
            weight starts from is the method's to say.

    Raises:
        BadValue: An optimizer's state that transport does not know how to carry.
    """
    parts, structures = dict(learner.parts), dict(learner.structures)
    for name, networks in successors.items():
        after = structures[name] = Structure.of(networks)
        parts[name] = _carry_part(learner.parts[name], learner.structures[name], networks, after)
    return replace(learner, parts=parts, structures=structures)


def along(learner: Learner, change: Callable[[str, Network], Network]) -> Learner:
    """`learner` with `change` made to its networks, and in the same way to all aligned with them.

    Args:
        change: Takes a network's name and the network. It must be linear in the network's numbers,
            whose place moments and targets take: a choice or a scaling of them.

    Raises:
        BadValue: An optimizer's state that transport does not know how to carry.
    """
    parts, structures = dict(learner.parts), dict(learner.structures)
    for name in learner.network_parts:
        part, structure = learner.parts[name], learner.structures[name]

        def changed(aligned: jax.Array, part=part, structure=structure) -> Networks:
            carried = structure.networks(aligned, part.indices)
            return {key: change(key, network) for key, network in carried.items()}

        def flat(aligned: jax.Array, power: int | None, changed=changed) -> jax.Array:
            networks = changed(aligned)
            return Structure.of(networks).flatten(networks)

        networks = changed(part.values)
        after = structures[name] = Structure.of(networks)
        parts[name] = Part(
            values=after.flatten(networks),
            target=flat(part.target, None) if part.target.size else part.target,
            optimizer=_carry_optimizer(part, flat),
            indices=after.flatten_indices(networks),
        )
    return replace(learner, parts=parts, structures=structures)


def revalued(learner: Learner, change: Callable[[str, Network], Network]) -> Learner:
    """`learner` with `change` made to its networks, and to its targets by their own numbers.

    Moments stay as they are.

    Args:
        change: Takes a network's name and the network, and gives one of the same shape.
    """

    def changed(name: str, aligned: jax.Array) -> jax.Array:
        part, structure = learner.parts[name], learner.structures[name]
        networks = structure.networks(aligned, part.indices)
        return structure.flatten({key: change(key, n) for key, n in networks.items()})

    parts = dict(learner.parts)
    for name in learner.network_parts:
        part = parts[name]
        target = changed(name, part.target) if part.target.size else part.target
        parts[name] = part._replace(values=changed(name, part.values), target=target)
    return replace(learner, parts=parts)


def _carry_part(
    part: Part, structure: Structure, successors: Networks, successor_structure: Structure
) -> Part:
    old = structure.online(part)

    def moved(aligned: jax.Array, fill: Fill, power: int | None) -> jax.Array:
        carried = structure.networks(aligned, part.indices)
        networks = {
            name: _move_network(carried[name], old[name], new, fill, power)
            for name, new in successors.items()
        }
        return successor_structure.flatten(networks)

    def moment(aligned: jax.Array, power: int | None) -> jax.Array:
        return moved(aligned, lambda new: 0.0, power)

    target = part.target
    return Part(
        values=successor_structure.flatten(successors),
        target=moved(target, lambda new: new.spread(new.weight), 0) if target.size else target,
        optimizer=_carry_optimizer(part, moment),
        indices=successor_structure.flatten_indices(successors),
    )


def _carry_optimizer(part: Part, moved: Callable[[jax.Array, int | None], jax.Array]) -> Any:
    """The optimizer's state with all moved that is aligned with the values.

    Numbers, such as the count of steps, stay as they are.
    """

    def carried(path: Any, leaf: Any) -> Any:
        shape = jnp.shape(leaf)
        if shape == part.values.shape:
            return moved(leaf, POWERS.get(getattr(path[-1], "name", "")))
        if shape == ():
            return leaf
        raise BadValue(
            f"the optimizer's state has an array {jax.tree_util.keystr(path)} of shape {shape}, "
            f"which is neither a number nor aligned with the {part.values.size} values: no method "
            "can change the topology under such an optimizer"
        )

    return jax.tree_util.tree_map_with_path(carried, part.optimizer)


def _move_network(
    aligned: Network, old: Network, new: Network, fill: Fill, power: int | None
) -> Network:
    """`new` with `aligned`, whose layers hold the vectors to move, as its weights and biases.

    Weights are multiplied by that power of how many times as many copies they have.
    """
    layers = []
    for carried, before, after in zip(aligned.layers, old.layers, new.layers, strict=True):
        if power is None and after.copies != before.copies:
            raise BadValue(
                "a moment of this optimizer cannot be carried between layouts whose weights stand "
                f"for {before.copies} and {after.copies} entries: it is known of {list(POWERS)} "
                "alone"
            )
        weight = jnp.asarray(move(carried.weight, before, after, fill(after)))
        weight = weight * (after.copies / before.copies) ** (power or 0)
        layers.append(
            eqx.tree_at(lambda layer: (layer.weight, layer.bias), after, (weight, carried.bias))
        )
    return aligned.with_layers(layers)
