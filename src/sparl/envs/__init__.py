"""Gymnasium environments: how they are made, their spaces, and wrappers."""

from sparl.envs.environment import episode_seed, make
from sparl.envs.spaces import Spaces, inner_float32, spaces_for, spaces_of
from sparl.envs.wrappers import NoiseInputs, SelectInputs, wrapped

__all__ = [
    "NoiseInputs",
    "SelectInputs",
    "Spaces",
    "episode_seed",
    "inner_float32",
    "make",
    "spaces_for",
    "spaces_of",
    "wrapped",
]
