"""Transitions: the replay buffer, batches, priorities and rollouts."""

from sparl.replay.batch import Batch
from sparl.replay.buffer import Columns, Replay
from sparl.replay.dynamic import OLDEST, drift, shrink
from sparl.replay.prioritised import Priorities
from sparl.replay.rollout import Rollout

__all__ = [
    "OLDEST",
    "Batch",
    "Columns",
    "Priorities",
    "Replay",
    "Rollout",
    "drift",
    "shrink",
]
