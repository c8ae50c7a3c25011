"""Normalisation of activations, [features, batch], with a gain and a shift for each feature.

The static method `normalised` of each norm takes arrays of JAX or of NumPy.
"""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from sparl import kernels

Norm = Literal["layer", "batch"]
"""`layer` normalises each sample over its features, `batch` each feature over samples."""
LAYER_EPSILON = 1e-6
"""Added to a layer norm's variance: flax's default, which SimBa's authors used (2410.09754)."""
BATCH_MEMORY = 0.99
"""Share of the running mean and variance that remains after a batch: Keras's default, which the
authors of OFENet (2003.01629), CrossQ (1902.05605) and XQC (2509.25174) used."""
RENORM_FACTOR, RENORM_OFFSET = 3.0, 5.0
"""Bounds of batch renormalisation, as in CrossQ's code: the factor r stays within [1/3, 3], the
offset d within [-5, 5]."""


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
    """Normalises every feature by its mean and variance over samples (1502.03167).

    In evaluation mode (`__call__`) these are a running mean and variance. They are arrays of the
    network like all others, so whatever carries a network carries them, but no loss has a gradient
    by them. In training mode (`of_batch`) they are those of the batch, which also moves the running
    ones.
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
        statistics = stop_gradient((self.mean, self.variance))
        return self.normalised(x, self.gain, self.shift, *statistics)

    @staticmethod
    def normalised(x: Any, gain: Any, shift: Any, mean: Any, variance: Any) -> Any:
        """x [features, batch], normalised; all other arrays are [features]."""
        factor, offset = kernels.affine(gain, shift, mean, variance)
        return factor[:, None] * x + offset[:, None]

    def of_batch(
        self, x: Float[Array, "features batch"], renormalise: Bool[Array, ""] | bool = False
    ) -> tuple[Float[Array, "features batch"], BatchNorm]:
        """x, normalised by the batch's own mean and variance, and the updated norm.

        Args:
            x: The sums or values to normalise.
            renormalise: Whether the result is brought close to that of the running statistics:
                batch renormalisation (1702.03275), y = (x - mean) / deviation * r + d. The factor
                r and the offset d have no gradient. Within their bounds y is what evaluation mode
                gives.
        """
        mean, variance = jnp.mean(x, axis=1), jnp.var(x, axis=1)
        gain, shift = self.gain, self.shift
        if renormalise is not False:
            r, d = self._corrections(*stop_gradient((mean, variance)))
            r, d = jnp.where(renormalise, r, 1.0), jnp.where(renormalise, d, 0.0)
            gain, shift = gain * r, gain * d + shift
        return self.normalised(x, gain, shift, mean, variance), self.moved(mean, variance)

    def moved(
        self, mean: Float[Array, " features"], variance: Float[Array, " features"]
    ) -> BatchNorm:
        """The norm with its running mean and variance updated by those of a batch."""
        updated = (
            BATCH_MEMORY * self.mean + (1.0 - BATCH_MEMORY) * mean,
            BATCH_MEMORY * self.variance + (1.0 - BATCH_MEMORY) * variance,
        )
        return eqx.tree_at(lambda norm: (norm.mean, norm.variance), self, updated)

    def _corrections(
        self, mean: Float[Array, " features"], variance: Float[Array, " features"]
    ) -> tuple[Float[Array, " features"], Float[Array, " features"]]:
        """r and d of batch renormalisation, for the statistics of a batch."""
        running_mean, running_variance = stop_gradient((self.mean, self.variance))
        deviation = jnp.sqrt(variance + kernels.BATCH_EPSILON)
        running_deviation = jnp.sqrt(running_variance + kernels.BATCH_EPSILON)
        r = jnp.clip(deviation / running_deviation, 1.0 / RENORM_FACTOR, RENORM_FACTOR)
        d = (mean - running_mean) / running_deviation
        return r, jnp.clip(d, -RENORM_OFFSET, RENORM_OFFSET)


AnyNorm = LayerNorm | BatchNorm
NORMS: dict[Norm, type[LayerNorm] | type[BatchNorm]] = {"layer": LayerNorm, "batch": BatchNorm}


def fresh(kind: Norm | None, features: int) -> AnyNorm | None:
    """A new norm of a kind; None for no kind."""
    return None if kind is None else NORMS[kind].fresh(features)
