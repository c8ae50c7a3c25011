"""An agent's whole state as a few flat arrays, with networks as views into them.

A compiled call pays for every array that enters or leaves it (about 2 us each), and Adam and
Polyak averaging over many small arrays pay again. So the networks that one optimizer trains are
a *part*: one vector of trained values, one of target values, one per Adam moment, one of
indices. `Structure` says where each layer lies in them.

A part may also hold a few numbers that are no network (SAC's temperature): trained and saved like
any other part, and left alone by methods, transport and accounting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import optax

from sparl.learner.structure import Part, Structure
from sparl.networks import Networks

Role = Literal["actor", "critic", "representation"]
"""What the networks of a part are for; a network of values that acts, as DQN's, is a critic."""


@dataclass(frozen=True)
class Learner:
    """An agent's state (`parts`: arrays) and what is static about it between restructurings."""

    parts: dict[str, Part]
    structures: dict[str, Structure]
    optimizers: dict[str, optax.GradientTransformation]
    roles: dict[str, Role]
    """Of every part that holds networks."""

    @classmethod
    def start(
        cls,
        networks: dict[str, dict[str, Any]],
        optimizers: dict[str, optax.GradientTransformation],
        with_target: frozenset[str],
        roles: Mapping[str, Role],
    ) -> Learner:
        """Fresh optimizers; every target is its online network's copy.

        Args:
            networks: Of each part the networks, or bare arrays, by name.
            optimizers: One for each part.
            with_target: The parts that have target networks.
            roles: Of the parts that hold networks.
        """
        parts, structures = {}, {}
        for name, part in networks.items():
            structure = structures[name] = Structure.of(part)
            values = structure.flatten(part)
            parts[name] = Part(
                values,
                jnp.copy(values) if name in with_target else jnp.zeros(0, jnp.float32),
                optimizers[name].init(values),
                structure.flatten_indices(part),
            )
        return cls(parts, structures, optimizers, dict(roles))

    def afresh(self, networks: dict[str, Networks]) -> Learner:
        """As `start` makes it of `networks`: fresh optimizers, targets that are copies."""
        with_target = frozenset(name for name in networks if self.parts[name].target.size)
        begun = Learner.start(networks, self.optimizers, with_target, self.roles)
        return replace(
            self,
            parts={**self.parts, **begun.parts},
            structures={**self.structures, **begun.structures},
        )

    def with_parts(self, parts: dict[str, Part]) -> Learner:
        return replace(self, parts={**self.parts, **parts})

    @property
    def network_parts(self) -> tuple[str, ...]:
        """The parts that hold networks: all that a method may restructure."""
        return tuple(name for name, s in self.structures.items() if s.holds_networks)

    def networks(self, name: str) -> Networks:
        """The online networks of a part."""
        return self.structures[name].online(self.parts[name])

    def targets(self, name: str) -> Networks:
        """The target networks of a part; empty where it has none."""
        return self.structures[name].target(self.parts[name])

    def outline(self) -> dict[str, Any]:
        """`all_networks`, with shapes in place of arrays."""
        outlines = {}
        for name in self.network_parts:
            outline = self.structures[name].outline()
            outlines |= outline
            if self.parts[name].target.size:
                outlines |= {f"target_{network}": outline[network] for network in outline}
        return outlines

    def all_networks(self) -> dict[str, Any]:
        """Every network by name, targets as `target_NAME`."""
        online, targets = {}, {}
        for name in self.network_parts:
            structure = self.structures[name]
            online |= structure.online(self.parts[name])
            target = structure.target(self.parts[name])
            targets |= {f"target_{network}": target[network] for network in target}
        return online | targets
