"""Observations normalised by the running statistics of those that training has met.

(x - mean) / sqrt(variance + epsilon), entry by entry, as SimBa's RSNorm has it (2410.09754). The
replay keeps observations as the environment gave them; whoever shows them to a network brings them
to the statistics of that moment.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

EPSILON = 1e-8
"""Added to the variance: an entry that never changed is 0 while it does not."""


class Normalization(NamedTuple):
    """What is subtracted from each entry of an observation, and what it is multiplied by then."""

    mean: Float[np.ndarray, " obs"] | Float[jax.Array, " obs"]
    scale: Float[np.ndarray, " obs"] | Float[jax.Array, " obs"]

    def __call__(self, observation: Any) -> Any:
        """Observations [..., obs], of NumPy or JAX; float32."""
        return (observation - self.mean) * self.scale


class RunningStatistics(NamedTuple):
    """Count, mean and sum of squared deviations from it, of all observations so far."""

    count: Int64[np.ndarray, ""]
    mean: Float[np.ndarray, " obs"]
    deviations: Float[np.ndarray, " obs"]

    @classmethod
    def start(cls, observation_size: int) -> RunningStatistics:
        """Of no observation."""
        return cls(np.array(0, np.int64), np.zeros(observation_size), np.zeros(observation_size))

    def including(self, observations: NDArray[np.float32]) -> RunningStatistics:
        """With further observations, [obs] or [batch, obs].

        Means and sums of deviations are joined as Chan, Golub and LeVeque do it (1979): nothing is
        the difference of large sums, however far the mean is from 0.
        """
        new = np.atleast_2d(observations).astype(np.float64)
        mean = new.mean(axis=0)
        count = self.count + len(new)
        off, share = mean - self.mean, len(new) / count
        return RunningStatistics(
            np.asarray(count, np.int64),
            self.mean + off * share,
            self.deviations + ((new - mean) ** 2).sum(axis=0) + off**2 * (self.count * share),
        )

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of each entry; 1 before there is any observation."""
        return self.deviations / self.count if self.count else np.ones_like(self.mean)

    @property
    def normalization(self) -> Normalization:
        """That by these statistics, float32: arrays of its own, which nobody writes to."""
        scale = 1.0 / np.sqrt(self.variance + EPSILON)
        return Normalization(self.mean.astype(np.float32), scale.astype(np.float32))
