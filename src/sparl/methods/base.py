"""What a method is: when and how layouts change. One file per paper.

A method knows networks, layouts and transport; it knows nothing of environments, and no agent
knows of it. See CONTRIBUTING.md for how to add one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax

from sparl.layouts import Layout
from sparl.learner import Learner
from sparl.networks import MLP, Networks

MethodState = Any
"""A pytree of arrays: all that a method remembers between two restructurings."""


@dataclass(frozen=True)
class Method:
    """Dense as it stands: networks start and stay as the agent made them."""

    name: ClassVar[str] = "dense"
    keeps_shapes: ClassVar[bool] = True
    """Restructuring leaves every array's shape as it is, so that nothing compiles again."""

    def start(
        self, networks: dict[str, Networks], key: jax.Array
    ) -> tuple[dict[str, Networks], MethodState]:
        """The dense networks of every part in their first layout, and the method's state."""
        return networks, {}

    @property
    def every(self) -> int:
        """Updates between two restructurings; 0 for never."""
        return 0

    @property
    def after_step(self) -> Callable[[Networks, float], Networks] | None:
        """What follows each optimizer step inside the compiled update, if anything.

        (networks of a part, learning rate) -> networks.
        """
        return None

    def restructure(
        self, learner: Learner, state: MethodState
    ) -> tuple[Learner, MethodState, dict[str, jax.Array]]:
        """The learner in its next layouts (by `transport.carry`), and figures for the log."""
        return learner, state, {}

    def notes(self, networks: dict[str, Networks]) -> list[str]:
        """What a user should know before the run starts, a sentence each."""
        return []


def replace_layers(network: MLP, new: dict[int, Layout]) -> MLP:
    """`network` with the layers at the positions of `new` replaced."""
    layers = tuple(new.get(i, layer) for i, layer in enumerate(network.layers))
    return eqx.tree_at(lambda n: n.layers, network, layers)
