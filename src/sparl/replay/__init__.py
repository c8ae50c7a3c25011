"""Transitions: batches, the replay buffer, priorities and what a rollout holds."""

from sparl.replay.batch import Batch
from sparl.replay.buffer import Columns, Replay
from sparl.replay.dynamic import OLDEST, drift, shrink
from sparl.replay.prioritised import Priorities

__all__ = [
    "OLDEST",
    "Batch",
    "Columns",
    "Priorities",
    "Replay",
    "drift",
    "shrink",
]
