"""The dynamic replay capacity of RLx2 (Tan et al., 2205.15043), for continuous actions.

Transitions of a much older policy teach little, above all with multi-step targets that have no
off-policy correction. So every 10,000 environment steps the policy acts on the observations of the
2048 oldest transitions. If its actions are too far from the stored ones, the oldest tenth of the
replay is dropped. The replay never falls below a least size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.replay.buffer import Replay

EVERY = 10_000
"""Environment steps between two checks."""
OLDEST = 2048
"""Number of transitions that are compared."""
SHARE = 0.1
"""Share of the replay that is dropped at once."""

Act = Callable[[NDArray[np.float32]], NDArray[Any]]
"""The policy without exploration: [batch, obs] to [batch, act] in [-1, 1]."""


def shrink(replay: Replay, act: Act, least: int, most_drift: float) -> None:
    """Drops the oldest tenth of the replay if the policy has drifted too far.

    Args:
        act: The policy without exploration.
        least: Number of transitions that are kept in any case.
        most_drift: The largest `drift` at which nothing is dropped.
    """
    droppable = min(int(SHARE * replay.size), replay.size - least)
    if droppable > 0 and drift(replay, act) > most_drift:
        replay.drop(droppable)


def drift(replay: Replay, act: Act) -> float:
    """Half the mean squared difference between the policy's actions and the oldest stored ones.

    Actions are in [-1, 1], so it is between 0 and 2.
    """
    rows = replay.span(replay.oldest, min(replay.oldest + OLDEST, replay.added))
    o, r = replay.columns.observation_size, replay.columns.reward
    return float(np.mean((act(rows[:, :o]) - rows[:, o:r]) ** 2) / 2)
