"""Gymnasium environments from their ids, and the seeds of their episodes."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import gymnasium as gym
import numpy as np

from sparl.errors import BadEnvironment

EXTRAS = {"highway_env": ("highway", "merge", "roundabout", "intersection", "racetrack")}
"""Packages of the `envs` extra, and how the ids begin that they register."""


def make(env_id: str, **options: Any) -> gym.Env:
    """A new environment.

    Args:
        env_id: A registered id, or `module:EnvId`, which imports the module first.
        **options: Passed to `gymnasium.make`.

    Raises:
        BadEnvironment: The id is unknown (the closest known ids are named), a package is missing
            (the message says what to install), or the environment raised something when it was
            made.
    """
    module, colon, name = env_id.partition(":")
    if not module or (colon and (not name or ":" in name)):
        raise BadEnvironment(
            f"no environment {env_id!r} can be made; an id is Name-v0, or module:Name-v0"
        )
    try:
        if ":" not in env_id:
            _register_extra(env_id)
        return gym.make(env_id, **options)
    except gym.error.DependencyNotInstalled as error:
        raise BadEnvironment(f"{env_id} needs a package that is missing: {error}") from error
    except (gym.error.UnregisteredEnv, gym.error.Error) as error:
        raise BadEnvironment(f"{_describe_unknown(env_id)} ({error})") from error
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"{env_id} needs the Python module {error.name or env_id.split(':')[0]!r}, "
            "which is not installed"
        ) from error
    except (Exception, SystemExit) as error:
        told = " ".join(str(error).split())
        raise BadEnvironment(
            f"{env_id} cannot be made: {type(error).__name__}{': ' * bool(told)}{told}"
        ) from error


def episode_seed(seed: int, stream: str, episode: int) -> int:
    """The seed with which an episode is reset.

    Args:
        seed: Of the run.
        stream: What the episode is for, for example "train" or "eval".
        episode: Its number within the stream, from 0.
    """
    words = [seed, *stream.encode(), episode]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def _register_extra(env_id: str) -> None:
    """Imports the package that registers `env_id`, if one of the `envs` extra does."""
    for package, beginnings in EXTRAS.items():
        if env_id.startswith(tuple(f"{name}-" for name in beginnings)):
            try:
                gym.register_envs(importlib.import_module(package))
            except ModuleNotFoundError as error:
                raise BadEnvironment(
                    f"{env_id} comes with {package.replace('_', '-')}, which is not installed: "
                    'pip install "sparl[envs]"'
                ) from error


def _describe_unknown(env_id: str) -> str:
    """What a message says of an id that cannot be made."""
    close = difflib.get_close_matches(env_id, list(gym.registry), n=3, cutoff=0.5)
    hint = f"close matches: {', '.join(close)}" if close else "gymnasium's ids look like Hopper-v5"
    return f"no environment {env_id!r} can be made; {hint}"


# gymnasium imports the module when the environment is made.
gym.register("sparl/HardSparse-v0", "sparl.linear_mdp.hard:HardSparse")
