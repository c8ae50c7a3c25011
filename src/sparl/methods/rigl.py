"""RigL: grow where the gradient is largest (Evci et al., 1911.11134; in RL, 2206.10369).

The papers say: every 1000 updates drop the fraction zeta(t) = a/2 (1 + cos(pi t / T)) of smallest
magnitude and grow as many where the dense gradient of a batch is largest, until T = 80 % of
training; weights dropped just now may be grown again; grown weights start at 0; allocation by
ER-kernel.

Our reading: the batch is that of the update just made, and gradients are taken after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from sparl.errors import BadValue
from sparl.learner import Learner
from sparl.methods.common.method import Signals
from sparl.methods.set import SET


@dataclass(frozen=True)
class RigL(SET):
    """Drop the smallest weights, grow those whose gradient is largest."""

    name: ClassVar[str] = "rigl"
    internal: ClassVar[frozenset[str]] = frozenset({"last_drop"})

    drop_fraction: float = 0.5
    """Share of each layer's kept weights that is dropped at first; a cosine takes it to 0."""
    drop: Literal["signs", "magnitude"] = "magnitude"
    """magnitude: the smallest. signs: of the positive and of the negative ones that share each."""
    until: float = 0.8
    """Share of the run's updates after which the topology stays."""

    last_drop: bool = False  # SET's alone: here the fraction has come to 0 by then

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last_drop:
            raise BadValue(f"last_drop is an option of set: {self.name} drops nothing at the end")

    def fraction(self, progress: jax.Array) -> jax.Array:
        return self.drop_fraction / 2 * (1 + jnp.cos(jnp.pi * progress / self.until))

    def grow_scores(
        self, learner: Learner, signals: Signals, key: jax.Array
    ) -> dict[str, dict[str, list[jax.Array]]]:
        gradients = signals.gradients()
        return {
            part: {
                name: [jnp.abs(layer.weight) for layer in network.layers]
                for name, network in gradients[part].items()
            }
            for part in learner.network_parts
        }
