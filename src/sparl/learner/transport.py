"""Moving a learner from one set of layouts to another.

A change of topology is a change of coordinates. `move` takes anything aligned with a layer's
weights from the old coordinates to the new ones; `carry` applies it to the three things that are
aligned with them besides the values themselves: both Adam moments and the target network. `along`
does to all four what is done to the networks, as when neurons are cut out. No other place in the
code touches them.

A stored weight may stand for several entries of the matrix (`Layout.copies`). Its gradient is then
the sum of theirs, so a moment on its way to such a layout is multiplied by their number, and the
second moment by its square; on its way back it is divided by it: Adam goes on in steps of the same
size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from sparl.layouts import Layout
from sparl.learner.state import Learner
from sparl.learner.structure import Part, Structure
from sparl.networks import Network, Networks


def move(aligned: jax.Array, old: Layout, new: Layout, fill: jax.Array | float) -> jax.Array:
    """`aligned` with `old.weight` in the coordinates of `new`.

    Places that both layouts store keep their value, places that only `new` stores take `fill`
    (a number, or a dense [out, in] matrix), places that only `old` stores are dropped.
    """
    return new.pick(old.spread(aligned, fill))


def carry(learner: Learner, successors: dict[str, Networks]) -> Learner:
    """`learner` with the networks of `successors`, part by part, in place of its own.

    A successor comes with its layouts and its online values: what a woken weight starts from is
    the method's to say. Adam moments go along with the weights that stay, and are zero for woken
    ones; a target's weights keep their Polyak value, woken ones take the online value.
    """
    parts, structures = dict(learner.parts), dict(learner.structures)
    for name, networks in successors.items():
        structures[name] = Structure.of(networks)
        parts[name] = _carry_part(
            learner.parts[name],
            learner.structures[name],
            networks,
            structures[name],
        )
    return Learner(parts, structures, learner.optimizers)


def along(learner: Learner, change: Callable[[str, Network], Network]) -> Learner:
    """`learner` with `change` made to its networks, and in the same way to all aligned with them.

    (name, network) -> network; it has to be linear in the numbers of the network, whose place
    moments and targets take: a choice or a scaling of them.
    """
    parts, structures = dict(learner.parts), dict(learner.structures)
    for name in learner.network_parts:
        part, structure = learner.parts[name], learner.structures[name]

        def changed(aligned: jax.Array, part=part, structure=structure) -> Networks:
            carried = structure.networks(aligned, part.indices)
            return {key: change(key, network) for key, network in carried.items()}

        networks = changed(part.values)
        after = structures[name] = Structure.of(networks)
        parts[name] = Part(
            values=after.flatten(networks),
            target=after.flatten(changed(part.target)) if part.target.size else part.target,
            optimizer=optax.tree.map_params(
                learner.optimizers[name],
                lambda moment, after=after, changed=changed: after.flatten(changed(moment)),
                part.optimizer,
            ),
            indices=after.flatten_indices(networks),
        )
    return Learner(parts, structures, learner.optimizers)


def _carry_part(
    part: Part,
    structure: Structure,
    successors: Networks,
    successor_structure: Structure,
) -> Part:
    old = structure.online(part)

    def moved(
        aligned: jax.Array, fill: Callable[[Layout], jax.Array | float], power: int = 0
    ) -> jax.Array:
        carried = structure.networks(aligned, part.indices)
        networks = {
            name: _move_network(carried[name], old[name], new, fill, power)
            for name, new in successors.items()
        }
        return successor_structure.flatten(networks)

    def moved_moments(adam: optax.ScaleByAdamState) -> optax.ScaleByAdamState:
        moments: Any = adam
        return adam._replace(
            mu=moved(moments.mu, lambda new: 0.0, 1), nu=moved(moments.nu, lambda new: 0.0, 2)
        )

    return Part(
        values=successor_structure.flatten(successors),
        target=moved(part.target, lambda new: new.spread(new.weight))
        if part.target.size
        else part.target,
        optimizer=jax.tree.map(
            lambda state: moved_moments(state) if _is_adam(state) else state,
            part.optimizer,
            is_leaf=_is_adam,
        ),
        indices=successor_structure.flatten_indices(successors),
    )


def _is_adam(state: Any) -> bool:
    return isinstance(state, optax.ScaleByAdamState)


def _move_network(
    aligned: Network,
    old: Network,
    new: Network,
    fill: Callable[[Layout], jax.Array | float],
    power: int,
) -> Network:
    """`new` with `aligned`, whose layers hold the vectors to move, as its weights and biases, and
    weights multiplied by that power of how many times as many copies they have."""
    layers = []
    for carried, before, after in zip(aligned.layers, old.layers, new.layers, strict=True):
        weight = jnp.asarray(move(carried.weight, before, after, fill(after)))
        weight = weight * (after.copies / before.copies) ** power
        layers.append(
            eqx.tree_at(lambda layer: (layer.weight, layer.bias), after, (weight, carried.bias))
        )
    return Network(tuple(layers), aligned.norms, new.wiring, new.squash)
