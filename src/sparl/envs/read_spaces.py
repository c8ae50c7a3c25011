"""The sizes and bounds of environments, from their spaces; what no agent can act in is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation

from sparl.envs.entries import entries_of, parts, structure_of
from sparl.envs.spaces import Spaces
from sparl.errors import BadEnvironment

MOST_CHOICES = 4096
"""Combinations of several discrete actions that are numbered at most."""
IMAGE = 1024
"""Bytes from which on an observation with two or more axes is taken for an image."""


def spaces_of(env: gym.Env, round_actions: bool = False) -> Spaces:
    """The sizes and bounds of an environment.

    Args:
        env: The environment; one that flattens its observations tells their entries, too.
        round_actions: Whether actions are rounded if they are integers between bounds.

    Raises:
        BadEnvironment: No agent can act in it. Observations must be a Box of numbers and no image;
            actions must be a bounded Box or discrete. The message names a way out.
    """
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    found = spaces_for(name, env.observation_space, env.action_space, round_actions)
    frames = found.observation_shape[0] if isinstance(env, FrameStackObservation) else 1
    return replace(found, entries=entries_of(env), structure=structure_of(env), frames=frames)


def spaces_for(
    name: str, observation: spaces.Space, action: spaces.Space, round_actions: bool = False
) -> Spaces:
    """The sizes and bounds of an environment, from its spaces.

    Args:
        name: What messages call the environment.
        observation: Its observation space.
        action: Its action space.
        round_actions: As for `spaces_of`.

    Raises:
        BadEnvironment: As for `spaces_of`.
    """
    if not isinstance(observation, spaces.Box):
        raise BadEnvironment(
            f"{name} has {type(observation).__name__} observations; sparl takes Box observations. "
            "gymnasium.wrappers.FlattenObservation turns others into a Box"
        )
    shape = tuple(int(size) for size in observation.shape)
    if 0 in shape:
        raise BadEnvironment(f"{name} has empty observations, of shape {shape}: give numbers")
    if _is_image(observation):
        raise BadEnvironment(
            f"{name} has image observations {shape}; sparl's networks take vectors. "
            "Choose an environment with state observations, or wrap this one to give features"
        )
    if isinstance(action, spaces.Discrete):
        return Spaces(shape, (), (), (), int(action.n), int(action.start))
    if isinstance(action, spaces.MultiDiscrete | spaces.MultiBinary):
        return _several_discrete(name, shape, action)
    if not isinstance(action, spaces.Box):
        raise BadEnvironment(
            f"{name} has {type(action).__name__} actions; sparl takes a bounded Box, Discrete, "
            "MultiDiscrete or MultiBinary. Wrap the environment to take one of these"
        )
    return _continuous(name, shape, action, round_actions)


def _continuous(
    name: str, observation_shape: tuple[int, ...], action: spaces.Box, round_actions: bool
) -> Spaces:
    low, high = (tuple(float(v) for v in bound.reshape(-1)) for bound in (action.low, action.high))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise BadEnvironment(
            f"{name} has actions without finite bounds (low {action.low}, high {action.high}); "
            "declare finite ones in the environment, or in a gymnasium.ActionWrapper around it"
        )
    if not low:
        raise BadEnvironment(f"{name} has empty actions, of shape {action.shape}: give numbers")
    dtype = np.dtype(action.dtype or np.float32)
    if dtype.kind not in "fiu":
        raise BadEnvironment(f"{name} has actions of type {dtype}: give floats")
    if dtype.kind in "iu" and not round_actions:
        raise BadEnvironment(
            f"{name} has actions that are integers between bounds ({action}). For a discrete agent "
            "declare them as Discrete or MultiDiscrete. For a continuous one set round_actions, "
            "which rounds its actions"
        )
    shape = tuple(int(size) for size in action.shape)
    return Spaces(observation_shape, shape, low, high, dtype=dtype.name)


def _several_discrete(
    name: str, observation_shape: tuple[int, ...], action: spaces.MultiDiscrete | spaces.MultiBinary
) -> Spaces:
    """Several discrete actions at once, whose combinations are numbered."""
    shape = tuple(int(size) for size in action.shape)
    binary = isinstance(action, spaces.MultiBinary)
    nvec = (2,) * math.prod(shape) if binary else tuple(action.nvec.reshape(-1).tolist())
    starts = (0,) * len(nvec) if binary else tuple(action.start.reshape(-1).tolist())
    choices = math.prod(nvec)
    if choices > MOST_CHOICES:
        raise BadEnvironment(
            f"{name} has actions with {choices} combinations ({action}); sparl numbers at most "
            f"{MOST_CHOICES}. Wrap the environment to offer fewer, or to take a Box of numbers"
        )
    dtype = np.dtype(action.dtype or np.int64).name
    return Spaces(observation_shape, shape, (), (), choices, dtype=dtype, nvec=nvec, starts=starts)


def image_in(space: spaces.Space) -> str | None:
    """The name of the first entry that is an image, as `robot.camera`; None if there is none."""
    for name, entry in parts(space):
        if _is_image(entry):
            return str(name)
        if (below := image_in(entry)) is not None:
            return f"{name}.{below}"
    return None


def _is_image(observation: spaces.Space) -> bool:
    """Whether observations are pixels: a board or a small grid of bytes is a vector like any."""
    return bool(
        isinstance(observation, spaces.Box)
        and observation.dtype == np.uint8
        and len(observation.shape) >= 2
        and math.prod(observation.shape) >= IMAGE
        and (observation.high == 255).all()
    )
