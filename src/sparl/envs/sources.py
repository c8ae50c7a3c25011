"""Where environments come from: gymnasium's registry, modules, files, envpool, objects.

A run folder records the name, and besides it what a process needs that does not know the name: the
`EnvSpec`, and the folder that a module was found in.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import (
    EnvSpec,
    find_highest_version,
    get_env_id,
    parse_env_id,
)

from sparl import plugins
from sparl.envs import envpool
from sparl.errors import BadEnvironment, BadValue

EXTRAS = {"highway_env": ("highway", "merge", "roundabout", "intersection", "racetrack")}
"""Packages of the `envs` extra, and how the ids begin that they register."""
KNOWN = ("gymnasium", "sparl", *EXTRAS)
"""Packages whose ids every process knows."""
OBJECT = "object:"
"""How the names of environments begin that Python code handed over as objects."""
objects: dict[str, Callable[..., Any]] = {}
"""What makes those, by name: see `sparl.envs.objects`."""


@dataclass(frozen=True)
class Registered:
    """An environment that gymnasium can make: an id, or a class that can be imported."""

    of: EnvSpec
    folder: str = ""
    """Where its module was found, if in no installed package; modules are looked for there."""

    def spec(self) -> EnvSpec:
        plugins.search(self.folder)
        return self.of

    @property
    def json(self) -> str:
        """The spec, for processes that do not know the id; "" if all do, or if it holds objects."""
        module = str(self.of.entry_point).partition(".")[0].partition(":")[0]
        if module in KNOWN and gym.registry.get(self.of.id) == self.of:
            return ""
        try:
            return self.of.to_json()
        except (TypeError, ValueError):
            return ""


@dataclass(frozen=True)
class InFile:
    """An environment of a Python file: every process imports the file itself."""

    name: str
    """`path/to/file.py:Class`, or an id that the file registers in place of the class."""

    def spec(self) -> EnvSpec:
        where, _, name = self.name.rpartition(":")
        module = plugins.module_of(Path(where), f"env is {self.name!r}")
        if name in gym.registry:
            return gym.registry[name]
        found = getattr(module, name, None)
        if found is None:
            raise BadEnvironment(
                f"{self.name}: {where} neither has a class {name} nor registers that id"
            )
        return _spec(name, found)


@dataclass(frozen=True)
class Object:
    """A function or a class of this process alone, or one environment that it has made."""

    name: str
    creator: Callable[..., Any]

    def spec(self) -> EnvSpec:
        return _spec(self.name, self.creator)


@dataclass(frozen=True)
class EnvPoolId:
    """An environment that envpool has and gymnasium does not."""

    id: str


Source = Registered | InFile | Object | EnvPoolId


def find(name: str, recorded: str = "", folder: str = "") -> Source:
    """What an environment's name stands for.

    Args:
        name: As in `sparl.envs.maker`.
        recorded: The JSON of its `EnvSpec`: what is made whatever the name means here.
        folder: Where modules are looked for, besides where Python looks.

    Raises:
        BadEnvironment: There is none of that name. The closest known ids are named.
    """
    if name.startswith(OBJECT):
        return _object(name)
    plugins.search(folder)
    if recorded:
        return Registered(EnvSpec.from_json(recorded), folder)
    where, colon, last = name.rpartition(":")
    if where.endswith(".py"):
        return InFile(name)
    if last.endswith(".py"):
        raise BadEnvironment(
            f"no environment {name!r}: name the class behind the file, {name}:MyEnv"
        )
    try:
        if colon:
            return _of_module(name, where, last, folder)
        _register_extra(name)
        return Registered(_registered(name), folder)
    except (BadEnvironment, gym.error.Error) as error:
        if envpool.has(name):
            return EnvPoolId(name)
        if isinstance(error, BadEnvironment):
            raise
        raise BadEnvironment(f"{_describe_unknown(name)} ({error})") from error


def folder_name(name: str) -> str:
    """How folders of runs in an environment are called, after the last part of its name."""
    last = re.split(r"[/\\]", name.removeprefix(OBJECT))[-1]
    return re.sub(r"[^\w.-]+", "-", last)


def _of_module(name: str, where: str, last: str, folder: str) -> Registered:
    """`module:EnvId` or `module:Class`; the working folder is searched like Python's own."""
    here = folder or str(Path.cwd())
    plugins.search(here)
    if not where or not last or ":" in where:
        raise BadEnvironment(
            f"no environment {name!r}: name a module and what is in it, my_module:MyEnv-v0 or "
            "my_module:MyEnv, or a file, path/to/my_env.py:MyEnv"
        )
    try:
        module = plugins.import_module(where, f"env is {name!r}")
    except BadValue as error:
        raise BadEnvironment(str(error)) from error
    folder = here if _lies_in(here, where, module) else ""
    if last in gym.registry:
        return Registered(gym.registry[last], folder)
    found = getattr(module, last, None)
    if found is None:
        raise BadEnvironment(
            f"no environment {name!r}: the module {where} neither registers the id {last!r} nor "
            f"has a class of that name. {_close(last)}"
        )
    # Another process has another __main__: the class itself is sent.
    entry = found if where == "__main__" else f"{where}:{last}"
    return Registered(_spec(last, entry), folder)


def _lies_in(folder: str, name: str, module: ModuleType) -> bool:
    """Whether Python finds a module in this folder, and not in one of its own."""
    path = Path(folder, *name.split("."))
    file = getattr(module, "__file__", None) or ""
    return Path(file) in (path.with_suffix(".py"), path / "__init__.py")


def _registered(env_id: str) -> EnvSpec:
    """The spec of an id, whose newest version is meant where it names none."""
    namespace, name, version = parse_env_id(env_id)
    if version is None and env_id not in gym.registry:
        version = find_highest_version(namespace, name)
    return gym.spec(get_env_id(namespace, name, version))


def _spec(name: str, entry_point: Any) -> EnvSpec:
    """A spec of what is not registered."""
    identifier = re.sub(r"[^\w-]", "", name) or "environment"
    return EnvSpec(identifier, entry_point=entry_point)


def _object(name: str) -> Object:
    if name not in objects:
        raise BadEnvironment(
            f"the environment {name.removeprefix(OBJECT)} was an object of the process that "
            "trained. Hand it over again (sparl.resume(folder, env=…)), or put it into a file and "
            "name that: path/to/my_env.py:MyEnv"
        )
    return Object(name.removeprefix(OBJECT), objects[name])


def _register_extra(env_id: str) -> None:
    """Imports the package that registers `env_id`, if one of the `envs` extra does."""
    if env_id in gym.registry:
        return
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
    return f"no environment {env_id!r} can be made; {_close(env_id)}"


def _close(env_id: str) -> str:
    close = difflib.get_close_matches(env_id, list(gym.registry), n=3, cutoff=0.5)
    return f"close matches: {', '.join(close)}" if close else "gymnasium's ids look like Hopper-v5"


# gymnasium imports the module when the environment is made.
gym.register("sparl/HardSparse-v0", "sparl.linear_mdp.hard:HardSparse")
gym.register("sparl/SpreadSparse-v0", "sparl.linear_mdp.spread:SpreadSparse")
