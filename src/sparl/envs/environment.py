"""Gymnasium environments: making them, checking that an agent can act in them, scaling.

Agents and the replay see flat float32 observations and actions in [-1, 1]; the bounds of the
environment's actions are applied at its door. Discrete actions are choices counted from 0.
"""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import gymnasium as gym
import numpy as np

from sparl.errors import BadEnvironment

EXTRAS = {"highway_env": ("highway", "merge", "roundabout", "intersection", "racetrack")}
"""Packages of the `envs` extra that register environments, by how the ids begin."""


def make(env_id: str, **options: Any) -> gym.Env:
    """The environment of that id (also `module:EnvId`, which imports the module first).

    Raises `BadEnvironment` for an unknown id, with the closest known ones, and for a package or
    extra that is missing, with what to install.
    """
    try:
        if ":" not in env_id:
            _register_extra(env_id)
        return gym.make(env_id, **options)
    except gym.error.DependencyNotInstalled as error:
        raise BadEnvironment(f"{env_id} needs a package that is missing: {error}") from error
    except (gym.error.UnregisteredEnv, gym.error.Error) as error:
        raise BadEnvironment(f"{_unknown(env_id)} ({error})") from error
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"{env_id} needs the Python module {error.name or env_id.split(':')[0]!r}, "
            "which is not installed"
        ) from error


def episode_seed(seed: int, stream: str, episode: int) -> int:
    """The seed that episode number `episode` of a stream ("train", "eval") is reset with."""
    words = [seed, *stream.encode(), episode]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def _register_extra(env_id: str) -> None:
    """Imports the package that registers `env_id`, if it is one of the `envs` extra."""
    for package, beginnings in EXTRAS.items():
        if env_id.startswith(tuple(f"{name}-" for name in beginnings)):
            try:
                gym.register_envs(importlib.import_module(package))
            except ModuleNotFoundError as error:
                raise BadEnvironment(
                    f"{env_id} comes with {package.replace('_', '-')}, which is not installed: "
                    'pip install "sparl[envs]"'
                ) from error


def _unknown(env_id: str) -> str:
    close = difflib.get_close_matches(env_id, list(gym.registry), n=3, cutoff=0.5)
    hint = f"close matches: {', '.join(close)}" if close else "gymnasium's ids look like Hopper-v5"
    return f"no environment {env_id!r} can be made; {hint}"


# Made, and imported, when it is asked for.
gym.register("sparl/HardSparse-v0", "sparl.linear_mdp.hard:HardSparse")
