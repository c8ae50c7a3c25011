"""Normalisation of activations, [features, batch], with a gain and a shift for each feature.

The static method `normalised` of each norm takes arrays of JAX or of NumPy.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels

LAYER_EPSILON = 1e-6
"""Added to a layer norm's variance: flax's default, which SimBa's authors used (2410.09754)."""
BATCH_MEMORY = 0.99
"""Share of the running mean and variance that remains after a batch: Keras's default, which
OFENet's authors used (2003.01629)."""


class LayerNorm(eqx.Module):
    """Normalises every sample by its own mean and variance over the features (1607.06450)."""

    gain: Float[Array, " features"]
    shift: Float[Array, " features"]

    @classmethod
    def fresh(cls, features: int) -> LayerNorm:
        """A norm with gain 1 and shift 0."""
        return cls(jnp.ones(features), jnp.zeros(features))

    def __call__(self, x: Float[Array, "features batch"]) -> Float[Array, "features batch"]:
        return self.normalised(x, self.gain, self.shift)

    @staticmethod
    def normalised(x: Any, gain: Any, shift: Any) -> Any:
        """x [features, batch], normalised; gain and shift are [features]."""
        centred = x - x.mean(0)
        deviation = ((centred * centred).mean(0) + LAYER_EPSILON) ** 0.5
        return gain[:, None] * (centred / deviation) + shift[:, None]


class BatchNorm(eqx.Module):
    """Normalises every feature by a running mean and variance over samples (1502.03167).

    The running mean and variance are arrays of the network like all others, so whatever carries a
    network carries them. No loss has a gradient by them; `of_batch` updates them.
    """

    gain: Float[Array, " features"]
    shift: Float[Array, " features"]
    mean: Float[Array, " features"]
    variance: Float[Array, " features"]

    @classmethod
    def fresh(cls, features: int) -> BatchNorm:
        """A norm with gain 1, shift 0, running mean 0 and running variance 1."""
        zeros, ones = jnp.zeros(features), jnp.ones(features)
        return cls(ones, zeros, zeros, ones)

    def __call__(self, x: Float[Array, "features batch"]) -> Float[Array, "features batch"]:
        return self.normalised(x, self.gain, self.shift, self.mean, self.variance)

    @staticmethod
    def normalised(x: Any, gain: Any, shift: Any, mean: Any, variance: Any) -> Any:
        """x [features, batch], normalised; all other arrays are [features]."""
        factor, offset = kernels.affine(gain, shift, mean, variance)
        return factor[:, None] * x + offset[:, None]

    def of_batch(
        self, x: Float[Array, "features batch"]
    ) -> tuple[Float[Array, "features batch"], BatchNorm]:
        """x, normalised by the batch's own mean and variance, and the updated norm."""
        mean, variance = jnp.mean(x, axis=1), jnp.var(x, axis=1)
        y = self.normalised(x, self.gain, self.shift, mean, variance)
        return y, self.moved(mean, variance)

    def moved(
        self, mean: Float[Array, " features"], variance: Float[Array, " features"]
    ) -> BatchNorm:
        """The norm with its running mean and variance updated by those of a batch."""
        updated = (
            BATCH_MEMORY * self.mean + (1.0 - BATCH_MEMORY) * mean,
            BATCH_MEMORY * self.variance + (1.0 - BATCH_MEMORY) * variance,
        )
        return eqx.tree_at(lambda norm: (norm.mean, norm.variance), self, updated)
