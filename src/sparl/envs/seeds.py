"""The seeds of episodes."""

from __future__ import annotations

import numpy as np


def episode_seed(seed: int, stream: str, episode: int) -> int:
    """The seed with which an episode is reset.

    Args:
        seed: Of the run.
        stream: What the episode is for, for example "train" or "eval".
        episode: Its number within the stream, from 0.
    """
    words = [seed, *stream.encode(), episode]
    return int(np.random.SeedSequence(words).generate_state(1)[0])
