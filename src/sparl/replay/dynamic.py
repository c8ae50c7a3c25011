"""Dynamic replay capacity, as RLx2 has it (Tan et al., 2205.15043), for continuous actions.

What a policy of long ago did teaches little, above all where the targets are multi-step returns
without off-policy correction. So, every 10,000 environment steps, the policy is asked what it
would do now where the 2048 oldest transitions were made. If that is too far from what was done
then, the oldest tenth of the replay is dropped; it never falls below a least size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.replay.buffer import Replay

EVERY = 10_000
"""Environment steps between two looks."""
OLDEST = 2048
"""Transitions compared."""
SHARE = 0.1
"""Of the replay, dropped at once."""

Act = Callable[[NDArray[np.float32]], NDArray[Any]]
"""The policy without exploration: [batch, obs] to [batch, act] in [-1, 1]."""


def shrink(replay: Replay, act: Act, least: int, most_drift: float) -> None:
    """Drops the oldest tenth if the policy has drifted too far, but keeps `least` transitions."""
    droppable = min(int(SHARE * replay.size), replay.size - least)
    if droppable > 0 and drift(replay, act) > most_drift:
        replay.drop(droppable)


def drift(replay: Replay, act: Act) -> float:
    """Half the mean squared difference of the policy's actions and the oldest stored ones.

    With actions in [-1, 1] it is between 0 and 2.
    """
    rows = replay.span(replay.oldest, min(replay.oldest + OLDEST, replay.added))
    o, r = replay.columns.observation_size, replay.columns.reward
    return float(np.mean((act(rows[:, :o]) - rows[:, o:r]) ** 2) / 2)
