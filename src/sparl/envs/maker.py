"""How a run's environment is made: found by its name, configured, wrapped.

A name is a gymnasium id, `module:EnvId`, `module:Class`, `path/to/file.py:Class`, or stands for an
object of this process that Python code handed over. What makes an environment can be sent to
another process, and finds the same environment there.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import FrameStackObservation, NormalizeObservation, NormalizeReward

from sparl import plugins, validation
from sparl.envs import envpool, sources
from sparl.envs.arrival import Arrival
from sparl.envs.entries import Flattened, has_fixed_size, parts
from sparl.envs.read_spaces import image_in
from sparl.envs.wrappers import wrapped
from sparl.errors import BadEnvironment, BadValue, SparlError

BOX2D = "gymnasium.envs.box2d"
"""Where gymnasium has the environments of the extra `box2d`."""


@dataclass(frozen=True)
class WrapperSpec:
    """A gymnasium wrapper of the user."""

    name: str
    """`module:Wrapper` or `path/to/file.py:Wrapper`."""
    kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """Its arguments besides the environment, by name."""

    def __post_init__(self) -> None:
        validation.kinds(self)


def wrapper_specs(wrappers: Sequence[Any]) -> tuple[WrapperSpec, ...]:
    """Wrappers as Python code hands them over.

    Args:
        wrappers: A name, a class or a `WrapperSpec` each, or a name or class with its arguments:
            `(gymnasium.wrappers.RescaleAction, {"min_action": -1, "max_action": 1})`.

    Raises:
        BadValue: A class that no other process could import.
    """
    specs = []
    for wrapper in wrappers:
        if isinstance(wrapper, WrapperSpec):
            specs.append(wrapper)
            continue
        kind, kwargs = wrapper if isinstance(wrapper, tuple) else (wrapper, {})
        name = kind if isinstance(kind, str) else plugins.spec_of(kind, "wrapper")
        specs.append(WrapperSpec(name, dict(kwargs)))
    return tuple(specs)


@dataclass(frozen=True)
class EnvMaker:
    """Makes the environment of a run as its agent sees it."""

    env: str
    """Its name."""
    source: sources.Source
    """What the name was found to be."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor."""
    wrappers: tuple[WrapperSpec, ...] = ()
    """The user's wrappers, the innermost first."""
    max_episode_steps: int | None = None
    noise_inputs: int = 0
    inputs: tuple[int, ...] = ()
    frame_stack: int = 1

    def __call__(self, **options: Any) -> gym.Env:
        """A new environment.

        Args:
            **options: Further ones of `gymnasium.make`, `render_mode` for example.

        Raises:
            BadEnvironment: It cannot be made. The message says what it, or a wrapper, raised.
            BadValue: `inputs` names an entry that the observation does not have.
        """
        # What keeps or reuses arrays is met before any wrapper can keep them, too.
        env = Arrival(self._with_spaces(self.base(**options)))
        for wrapper in self.wrappers:
            env = self._wrap(env, wrapper)
        _refuse_statistics(env)
        env = Arrival(env) if self.wrappers else env
        if not isinstance(env.observation_space, gym.spaces.Box):
            env = self._flattened(env)
        env = wrapped(env, self.noise_inputs, self.inputs)
        if self.frame_stack > 1:
            env = FrameStackObservation(env, self.frame_stack)
        return env

    def base(self, **options: Any) -> gym.Env:
        """The environment as it is registered, or as its class gives it, without wrappers.

        Raises:
            BadEnvironment: As when it is called.
        """
        if isinstance(self.source, sources.EnvPoolId):
            return envpool.Single(self.env, self.kwargs, self.max_episode_steps)
        spec = self.source.spec()
        if self.max_episode_steps is not None:
            options = options | {"max_episode_steps": self.max_episode_steps}
        try:
            # `sparl check` tells what the checker would, once and not for every instance.
            return gym.make(spec, **{"disable_env_checker": True} | options | self.kwargs)
        except SparlError:
            raise
        except gym.error.DependencyNotInstalled as error:
            missing = f"a package that is missing: {error}"
            raise BadEnvironment(f"{self.env} needs {_of_extra(spec) or missing}") from error
        except ModuleNotFoundError as error:
            missing = f"the Python module {error.name!r}, which is not installed"
            if not str(error).startswith("No module named"):  # in the environment's own words
                missing = f"a package that is missing: {error}"
            raise BadEnvironment(f"{self.env} needs {_of_extra(spec) or missing}") from error
        except (Exception, SystemExit) as error:
            raise BadEnvironment(
                f"{self.env} cannot be made: {_told(error)}{self._hint(error)}"
            ) from error

    def _hint(self, error: BaseException) -> str:
        if not isinstance(error, TypeError) or "argument" not in str(error):
            return ""
        if "'render_mode'" in str(error) and "render_mode" not in self.kwargs:
            return ". To be filmed, it must take render_mode, and give frames for 'rgb_array'"
        given = ", ".join(f"{k}={v!r}" for k, v in self.kwargs.items()) or "none"
        return f". Arguments of its constructor are given as env_kwargs; now {given}"

    def _wrap(self, env: gym.Env, wrapper: WrapperSpec) -> gym.Env:
        kind = plugins.imported(wrapper.name, "wrapper")
        try:
            wrapped = kind(env, **wrapper.kwargs)
        except Exception as error:
            raise BadEnvironment(
                f"the wrapper {wrapper.name} cannot wrap {self.env}: {_told(error)}"
            ) from error
        if not isinstance(wrapped, gym.Env):
            raise BadValue(
                f"the wrapper {wrapper.name} gives {type(wrapped).__name__}, which is no "
                "environment: derive it from gymnasium.Wrapper"
            )
        return wrapped

    def _with_spaces(self, env: gym.Env) -> gym.Env:
        """The environment; `BadEnvironment` where it does not say what it takes and gives."""
        for name in ("observation_space", "action_space"):
            if not isinstance(getattr(env.unwrapped, name, None), gym.Space):
                env.close()
                raise BadEnvironment(
                    f"{self.env} has no {name}: set it in its __init__, to a gymnasium.spaces.Box "
                    "for example"
                )
        return env

    def _flattened(self, env: gym.Env) -> gym.Env:
        space = env.observation_space
        if not has_fixed_size(space):
            raise BadEnvironment(
                f"{self.env} has observations {space}, whose size is not fixed, and sparl's "
                "networks take vectors. Wrap it to give a Box, or a Dict or Tuple of fixed size; "
                "gymnasium's FilterObservation leaves entries out"
            )
        image = None if self.inputs else image_in(space)
        if image is not None:
            raise BadEnvironment(
                f"{self.env} has an image among its observations, {image}; sparl's networks take "
                "vectors. Name the other entries to keep: --wrappers "
                f"\"gymnasium.wrappers:FilterObservation\" 'filter_keys={_others(space, image)}'"
            )
        return Flattened(env)


def _others(space: gym.Space, image: str) -> str:
    """The entries of a Dict or a Tuple without that of an image, as JSON."""
    beside = image.partition(".")[0]
    return json.dumps([name for name, _ in parts(space) if str(name) != beside])


def _of_extra(spec: EnvSpec) -> str | None:
    """What an environment of gymnasium needs that an extra of sparl brings, and the command."""
    if not str(spec.entry_point).startswith(BOX2D):
        return None
    needed = 'Box2D, which is not installed: pip install "sparl[box2d]"'
    if sys.version_info >= (3, 14):
        needed += (
            ". There are no wheels for this Python: in an active environment with a C++ compiler, "
            "first pip install swig setuptools wheel, and add --no-build-isolation to that command"
        )
    return needed


def _told(error: BaseException) -> str:
    """What an exception of a user's code says, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} ({frames[-1].filename}:{frames[-1].lineno})"


def by_name(env: str, **options: Any) -> EnvMaker:
    """What makes the environment of that name.

    Args:
        env: A gymnasium id, `module:EnvId`, `module:Class` or `path/to/file.py:Class`.
        **options: Fields of `EnvMaker`.

    Raises:
        BadEnvironment: There is no environment of that name.
    """
    return EnvMaker(env, sources.find(env), **options)


def make(env: str, **options: Any) -> gym.Env:
    """A new environment.

    Args:
        env: As for `by_name`.
        **options: Passed to `gymnasium.make`.

    Raises:
        BadEnvironment: There is none of that name (the closest known ids are named), or it cannot
            be made (the message says what to install, or what it raised).
    """
    return by_name(env)(**options)


def _refuse_statistics(env: gym.Env) -> None:
    """Refuses wrappers that learn, wherever they are: only sparl's own statistics are kept."""
    inner = env
    while isinstance(inner, gym.Wrapper):
        if isinstance(inner, NormalizeObservation | NormalizeReward):
            env.close()
            raise BadValue(
                f"the wrapper {type(inner).__name__} keeps statistics of its own, which no "
                "checkpoint and no policy has, and evaluations begin others. Use "
                "--normalize-observations; rewards are scaled by ppo's --normalize-rewards and by "
                "xqc"
            )
        inner = inner.env
