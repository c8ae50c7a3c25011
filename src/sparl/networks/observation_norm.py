"""Normalisation of observations by running statistics over all that training has met.

Every entry becomes (x - mean) / sqrt(variance + epsilon), as in SimBa's RSNorm (2410.09754). The
replay keeps observations as the environment gave them. They are normalised by the statistics of the
moment whenever a network reads them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

EPSILON = 1e-8
"""Added to the variance. An entry that has never changed is normalised to 0."""


class Normalization(NamedTuple):
    """The fixed shift and scale of each entry of an observation."""

    mean: Float[np.ndarray, " obs"] | Float[jax.Array, " obs"]
    """Is subtracted first."""
    scale: Float[np.ndarray, " obs"] | Float[jax.Array, " obs"]
    """Multiplies the difference."""
    clip: float | None = None
    """The product is clipped to within this of 0, as VecNormalize of Stable-Baselines3 does it; not
    at all if None."""

    def __call__(self, observation: Any) -> Any:
        """Normalised observations.

        Args:
            observation: float32 [..., obs], of NumPy or JAX.
        """
        normalized = (observation - self.mean) * self.scale
        return normalized if self.clip is None else normalized.clip(-self.clip, self.clip)


class RunningStatistics(NamedTuple):
    """Statistics of all observations so far."""

    count: Int64[np.ndarray, ""]
    mean: Float[np.ndarray, " obs"]
    deviations: Float[np.ndarray, " obs"]
    """Sums of the squared deviations from the mean."""

    @classmethod
    def start(cls, observation_size: int) -> RunningStatistics:
        """The statistics before the first observation."""
        return cls(np.array(0, np.int64), np.zeros(observation_size), np.zeros(observation_size))

    def including(self, observations: NDArray[np.floating]) -> RunningStatistics:
        """The statistics after further observations.

        The merge is that of Chan, Golub and LeVeque (1979). It subtracts no large sums, so it
        stays accurate however far the mean is from 0.

        Args:
            observations: [obs] or [batch, obs].
        """
        new = np.atleast_2d(observations).astype(np.float64)
        # At every step of a run there is one row, or a few.
        new_mean = new[0] if len(new) == 1 else np.add.reduce(new) / len(new)
        count = self.count + len(new)
        shift, new_share = new_mean - self.mean, len(new) / count
        new_deviations = 0.0 if len(new) == 1 else np.add.reduce((new - new_mean) ** 2)
        return RunningStatistics(
            np.asarray(count, np.int64),
            self.mean + shift * new_share,
            self.deviations + new_deviations + shift**2 * (self.count * new_share),
        )

    @property
    def variance(self) -> NDArray[np.float64]:
        """The variance of each entry; 1 before the first observation."""
        return self.deviations / self.count if self.count else np.ones_like(self.mean)

    @property
    def normalization(self) -> Normalization:
        """The normalisation by these statistics, in float32; its arrays are copies."""
        scale = 1.0 / np.sqrt(self.variance + EPSILON)
        return Normalization(self.mean.astype(np.float32), scale.astype(np.float32))
