"""Normalisation of activations, [features, batch], with a gain and a shift for each feature.

`normalised` of each kind takes arrays of JAX or of NumPy.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels

LAYER_EPSILON = 1e-6
"""Added to a layer norm's variance; that of flax, in which SimBa's authors wrote (2410.09754)."""
BATCH_MEMORY = 0.99
"""Of the running mean and variance; that of Keras, in which OFENet's authors wrote (2003.01629)."""


class LayerNorm(eqx.Module):
    """Every sample by its own mean and variance over the features (1607.06450)."""

    gain: Float[Array, " features"]
    shift: Float[Array, " features"]

    @classmethod
    def fresh(cls, features: int) -> LayerNorm:
        return cls(jnp.ones(features), jnp.zeros(features))

    def __call__(self, x: Float[Array, "features batch"]) -> Float[Array, "features batch"]:
        return self.normalised(x, self.gain, self.shift)

    @staticmethod
    def normalised(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - x.mean(0)
        deviation = ((centred * centred).mean(0) + LAYER_EPSILON) ** 0.5
        return gain[:, None] * (centred / deviation) + shift[:, None]


class BatchNorm(eqx.Module):
    """Every feature by a running mean and variance over samples (1502.03167).

    These two are numbers of the network like the others, so that whatever carries a network carries
    them. No loss has a gradient by them; `of_batch` moves them.
    """

    gain: Float[Array, " features"]
    shift: Float[Array, " features"]
    mean: Float[Array, " features"]
    variance: Float[Array, " features"]

    @classmethod
    def fresh(cls, features: int) -> BatchNorm:
        zeros, ones = jnp.zeros(features), jnp.ones(features)
        return cls(ones, zeros, zeros, ones)

    def __call__(self, x: Float[Array, "features batch"]) -> Float[Array, "features batch"]:
        return self.normalised(x, self.gain, self.shift, self.mean, self.variance)

    @staticmethod
    def normalised(x: Any, gain: Any, shift: Any, mean: Any, variance: Any) -> Any:
        factor, offset = kernels.affine(gain, shift, mean, variance)
        return factor[:, None] * x + offset[:, None]

    def of_batch(
        self, x: Float[Array, "features batch"]
    ) -> tuple[Float[Array, "features batch"], BatchNorm]:
        """x by its own mean and variance, and the norm with these taken into its running ones."""
        mean, variance = jnp.mean(x, axis=1), jnp.var(x, axis=1)
        y = self.normalised(x, self.gain, self.shift, mean, variance)
        return y, self.moved(mean, variance)

    def moved(
        self, mean: Float[Array, " features"], variance: Float[Array, " features"]
    ) -> BatchNorm:
        """The norm with a batch's mean and variance taken into its running ones."""
        after = (
            BATCH_MEMORY * self.mean + (1.0 - BATCH_MEMORY) * mean,
            BATCH_MEMORY * self.variance + (1.0 - BATCH_MEMORY) * variance,
        )
        return eqx.tree_at(lambda norm: (norm.mean, norm.variance), self, after)
