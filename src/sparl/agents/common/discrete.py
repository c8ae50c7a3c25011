"""What agents with discrete actions share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32
from numpy.typing import NDArray


def greedy(network: Callable[[Any], Any], observation: NDArray[np.float32]) -> NDArray[np.integer]:
    """The choices of the largest output: [batch, obs] to [batch]."""
    return network(observation.T).argmax(axis=0)


def chosen(
    values: Float[Array, "choices batch"], choice: Int32[Array, " batch"]
) -> Float[Array, " batch"]:
    """Of each column, the value in the chosen row."""
    return jnp.take_along_axis(values, choice[None], axis=0)[0]
