"""Environments that Python code hands over: classes, functions, specs, and environments themselves.

Where another process could make them again, they get the name by which it does. If not, their name
stands for the object itself, in this process alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from sparl import plugins
from sparl.envs import sources
from sparl.errors import BadEnvironment, BadValue


@dataclass(frozen=True)
class Described:
    """How an environment that Python code handed over is called."""

    name: str
    recorded: str = ""
    """The JSON of its `EnvSpec`, if it has one."""
    single: bool = False
    """Whether it is one environment that cannot be made a second time."""


def describe(env: Any) -> Described:
    """The name of an environment that Python code hands over.

    Args:
        env: A name, a class, a function that makes environments, an `EnvSpec`, or an environment.

    Raises:
        BadEnvironment: It is none of these.
    """
    if isinstance(env, str):
        return Described(env)
    if isinstance(env, EnvSpec):
        return _of_spec(env) or _kept(env.id, env.make)
    if isinstance(env, gym.Env):
        return _of_instance(env)
    if not callable(env):
        raise BadEnvironment(
            f"env is {env!r}: give a gymnasium id, a class, a function that makes environments, "
            "or an environment"
        )
    name = getattr(env, "__qualname__", type(env).__name__)
    try:
        return Described(plugins.spec_of(env, "environment"))
    except (BadValue, AttributeError):
        if getattr(sys.modules["__main__"], name, None) is env:  # in a notebook
            return Described(f"__main__:{name}")
        return _kept(name, env)


def _of_spec(spec: EnvSpec) -> Described | None:
    """An environment of gymnasium's registry, or one that its spec alone tells how to make."""
    if gym.registry.get(spec.id) == spec:
        return Described(spec.id)
    if any(wrapper.kwargs is None for wrapper in spec.additional_wrappers):
        return None
    try:
        return Described(spec.id, spec.to_json())
    except (TypeError, ValueError):  # a function is in it
        return None


def _of_instance(env: gym.Env) -> Described:
    spec = env.spec
    described = None if spec is None else _of_spec(spec)
    if described is not None:
        return described
    name = type(env.unwrapped).__name__
    kept = _kept(name, _Once(env, name))
    return Described(kept.name, single=True)


def _kept(name: str, creator: Callable[..., Any]) -> Described:
    """The name of an object: another one where it stands for another object already."""
    called, number = sources.OBJECT + name, 1
    while sources.objects.setdefault(called, creator) != creator:
        number += 1
        called = f"{sources.OBJECT}{name}-{number}"
    return Described(called)


class _Kept(gym.Wrapper):
    """An environment that stays open, because somebody else has made it."""

    def __init__(self, env: gym.Env, release: Callable[[], None]) -> None:
        super().__init__(env)
        self._release = release

    def close(self) -> None:
        self._release()


class _Once:
    """Gives one environment, to one user at a time."""

    def __init__(self, env: gym.Env, name: str) -> None:
        self._env, self._name, self._taken = env, name, False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and other._env is self._env

    def __hash__(self) -> int:
        return id(self._env)

    def __call__(self, **options: Any) -> gym.Env:
        options.pop("render_mode", None)
        if self._taken or options:
            raise BadEnvironment(
                f"{self._name} is one environment, and a second one is needed, or one with other "
                "arguments: hand over its class, or a function that makes it"
            )
        self._taken = True
        return _Kept(self._env, self._released)

    def _released(self) -> None:
        self._taken = False
