"""RigL: grow where the gradient is largest (Evci et al., 1911.11134; in RL, 2206.10369).

The papers say:
- Every 1000 updates, drop the fraction zeta(t) = a/2 (1 + cos(pi t / T)) of the weights, those of
  smallest magnitude. Grow as many where the dense gradient of a batch is largest.
- This ends at T = 80 % of training.
- A weight that was just dropped may be grown again. Grown weights start at 0.
- The allocation is ER-kernel.

Our reading:
- The batch is that of the update just made, and gradients are taken after that update.
- A weight that is dropped and grown at once keeps its value and its moments. Others start with
  moments of 0.
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
    """Drop the smallest weights and grow those whose gradient is largest (1911.11134)."""

    name: ClassVar[str] = "rigl"
    internal: ClassVar[frozenset[str]] = frozenset({"last_drop"})

    drop_fraction: float = 0.5
    """Share of each layer's kept weights that is dropped at first; it falls to 0 as a cosine."""
    drop: Literal["signs", "magnitude"] = "magnitude"
    """magnitude: drop the smallest weights. signs: drop that share of the positive weights and of
    the negative ones."""
    until: float = 0.8
    """Share of the run's updates after which the topology stays as it is."""

    last_drop: bool = False  # an option of SET alone: here the fraction is 0 at the end

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last_drop:
            raise BadValue(f"last_drop is an option of set: {self.name} drops nothing at the end")

    def fraction(self, progress: jax.Array) -> jax.Array:
        """The share of a layer's weights to drop now: zeta(t) of the paper."""
        return self.drop_fraction / 2 * (1 + jnp.cos(jnp.pi * progress / self.until))

    def grow_scores(
        self, learner: Learner, signals: Signals, key: jax.Array
    ) -> dict[str, dict[str, list[jax.Array]]]:
        """The magnitudes of the gradients by all weights of every layer, [out, in]."""
        gradients = signals.gradients()
        return {
            part: {
                name: [jnp.abs(layer.weight) for layer in network.layers]
                for name, network in gradients[part].items()
            }
            for part in learner.network_parts
        }
