"""The newest observations as one: the memory of an agent that sees several frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.envs.spaces import Spaces


class Stack(NamedTuple):
    """Frames of one environment, or of a batch of them."""

    flat: NDArray[np.float32]
    """What the agent sees, [obs] or [batch, obs]."""
    frames: NDArray[np.float32]
    """The same as frames, the newest last: [frames, size] or [batch, frames, size]."""


def stack(spaces: Spaces, observation: Any, frames: Any = None, start: Any = None) -> Stack:
    """Puts an observation behind those before it.

    Args:
        spaces: With several frames.
        observation: The newest one, or a batch; or all frames at once, in the agent's shape.
        frames: `Stack.frames` of the call before; None at the start of an episode.
        start: Whether an episode starts with this observation, for each of a batch. Its first
            observation fills all frames, as gymnasium's FrameStackObservation does.
    """
    shape = np.shape(observation) if not isinstance(observation, dict | tuple) else ()
    # One in the agent's shape may be a batch of as many; who remembers frames gives single ones.
    several = shape != spaces.observation_shape or (frames is None and start is None)
    if several and shape[-len(spaces.observation_shape) :] == spaces.observation_shape:
        flat = spaces.flat(observation)
        return Stack(flat, flat.reshape(*flat.shape[:-1], spaces.frames, -1))
    one = replace(spaces, observation_shape=spaces.observation_shape[1:], frames=1)
    newest = one.flat(observation)[..., None, :]
    filled = np.repeat(newest, spaces.frames, axis=-2)
    if frames is None:
        moved = filled
    else:
        moved = np.concatenate([np.asarray(frames, np.float32)[..., 1:, :], newest], axis=-2)
        if start is not None:
            moved = np.where(
                np.asarray(start, bool).reshape(newest.shape[:-2])[..., None, None], filled, moved
            )
    return Stack(moved.reshape(*newest.shape[:-2], spaces.observation_size), moved)
