"""The best actions of policies that may be discrete or continuous."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.agents.common.discrete import greedy


def best_actions(
    network: Callable[[Any], Any], observation: NDArray[np.float32], discrete: bool
) -> NDArray[np.float32] | NDArray[np.integer]:
    """The choices of the largest outputs [batch], or the outputs within [-1, 1], [batch, act].

    Args:
        network: [inputs, batch] to [outputs, batch].
        observation: [batch, obs].
        discrete: Whether outputs are values, or logits, of choices.
    """
    if discrete:
        return greedy(network, observation)
    return np.clip(network(observation.T).T, -1.0, 1.0)
