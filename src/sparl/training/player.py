"""Plays a run's environment episode by episode.

Episodes are numbered, and the seed of each follows from its number. Observations are flat and
checked to be finite. When an environment fails, or gives a number that is not finite, the run is
saved first; then an error says at which step and with which seed that was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl import envs
from sparl.config import RunConfig
from sparl.envs import EnvMaker
from sparl.errors import BadEnvironment, Diverged, EnvironmentFailed, SparlError

Explore = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Gives the agent's actions, [batch, act] or choices [batch], for observations [batch, obs]."""
LARGEST = float(np.finfo(np.float32).max)
"""The largest reward that a replay can hold."""


class Transition(NamedTuple):
    """One environment step; the fields are the arguments of `Replay.add`."""

    observation: NDArray[np.float32]
    action: NDArray[np.float32] | int | np.integer
    """The action of the agent: [act] in [-1, 1], or the number of a discrete one."""
    reward: float
    next_observation: NDArray[np.float32]
    terminated: bool
    """Whether the environment itself ended the episode."""
    ended: bool
    """Whether the episode does not go on, for whatever reason."""
    stream: int = 0
    """The environment, where there are several."""


class LeftOut(NamedTuple):
    """What is left out because it is not finite: its episode is over."""

    what: str
    steps: int
    """1 for a step, 0 for the first observation of an episode."""
    stream: int = 0


Played = Transition | LeftOut | None
"""What comes of a step; None while environments take it in processes or threads of their own."""


class NotFinite(Exception):
    """The environment gave a number that is not finite; the message says which."""


class StepResult(NamedTuple):
    """What the environment gives for an action."""

    observation: NDArray[np.float32]
    """The next observation, [obs]."""
    reward: float
    terminated: bool
    truncated: bool


@contextmanager
def closed_on_failure(what: Any) -> Iterator[None]:
    """A context that closes something where an exception ends it: a device, say, opens once."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            what.close()
        raise


class EpisodePlayer:
    """Plays the episodes of a run, one after the other."""

    def __init__(
        self,
        run: RunConfig,
        make: EnvMaker,
        where: Callable[[], str],
        rescue: Callable[[], None],
        way_out: Callable[[], str],
    ) -> None:
        """
        Args:
            make: Makes the run's environment.
            where: Gives the step that the run is at.
            rescue: Saves what was learned, before an error of the environment ends the run.
            way_out: Gives a sentence on what the run can be resumed from.
        """
        self._run, self._where, self._rescue, self._way_out = run, where, rescue, way_out
        self.make, self.env = make, make()
        with closed_on_failure(self.env):
            self.spaces = envs.spaces_of(self.env, run.round_actions)
        self.begun = 0
        """The number of the next episode."""
        self.whole = True
        """Whether the newest transition is the last one of a step of all environments."""
        self._seeds = [0]
        """The seeds of the episodes under way, for messages."""

    @property
    def longest(self) -> int | None:
        """The largest number of steps of an episode; None if the environment has no limit."""
        return self.env.spec.max_episode_steps if self.env.spec else None

    def transitions(self, explore: Explore, another: Callable[[], bool]) -> Iterator[Played]:
        """The transitions of episodes from number `begun` on, one at a time.

        Args:
            explore: Gives the actions for observations.
            another: Whether another episode is to begin; called when one has ended.
        """
        goes_on = True
        while goes_on:
            ended, steps = False, 0
            try:
                observation = self._reset()
                steps = 1
                while not ended:
                    (action,) = explore(observation[None])
                    after = self._step(action)
                    ended = after.terminated or after.truncated
                    yield Transition(
                        observation,
                        action,
                        after.reward,
                        after.observation,
                        after.terminated,
                        ended,
                    )
                    observation = after.observation
            except NotFinite as error:
                yield LeftOut(str(error), steps)
            goes_on = another()

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    @contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """A context that saves what was learned when an exception ends the run.

        Args:
            doing: What is done in the context, for the message.

        Raises:
            EnvironmentFailed: The environment raised an exception. Errors of sparl pass unchanged.
        """
        try:
            yield
        except NotFinite as error:
            if self._run.nonfinite == "skip":
                raise
            at = self._at()
            self._rescue()
            raise Diverged(
                f"{self._run.env} gave {error} that is not finite ({at}). Bound it in the "
                f"environment (np.clip), or leave such steps out: nonfinite skip. {self._way_out()}"
            ) from error
        except (Exception, SystemExit) as error:  # a closed window, usually
            at = self._at()
            self._rescue()
            if isinstance(error, BadEnvironment):
                raise BadEnvironment(f"{error} ({at}). {self._way_out()}") from error
            if isinstance(error, EnvironmentFailed):  # in an evaluation, whose seed it tells
                raise EnvironmentFailed(
                    f"{error}, at {self._where()}. {self._way_out()}"
                ) from error
            if isinstance(error, SparlError):
                raise
            raise EnvironmentFailed(
                f"{self._run.env} raised {type(error).__name__} in {doing}: {error} ({at}). "
                f"{self._way_out()}"
            ) from error

    def _reset(self) -> NDArray[np.float32]:
        """The first observation [obs] of the next episode; raises `NotFinite`."""
        self._seeds = [self._next_seed()]
        with self.guarded("reset"):
            observation, _ = self.env.reset(seed=self._seeds[0])
            return finite(self.spaces.flat_one(observation))

    def _step(self, action: NDArray[np.float32] | np.integer) -> StepResult:
        """Steps the environment by an action of the agent; raises `NotFinite`."""
        with self.guarded("step"):
            observation, reward, terminated, truncated, _ = self.env.step(
                self.spaces.to_env_action(action)
            )
            number = float(reward)
            flat = finite(self.spaces.flat_one(observation), number)
            return StepResult(flat, number, terminated, truncated)

    def _next_seed(self) -> int:
        """The seed of the next episode, which begins now."""
        self.begun += 1
        return envs.episode_seed(self._run.seed, "train", self.begun - 1)

    def _at(self) -> str:
        """The step of the run and the seeds, for messages."""
        seeds = ", ".join(map(str, self._seeds))
        return f"{self._where()}, reset with seed{'s' if len(self._seeds) > 1 else ''} {seeds}"


def finite(observation: NDArray[np.float32], reward: float = 0.0) -> NDArray[np.float32]:
    """The flat observation [obs], if it and the reward are finite in float32.

    Raises:
        NotFinite: One is not.
    """
    if not abs(reward) <= LARGEST:  # NaN neither
        raise NotFinite(f"the reward {reward}")
    if not np.isfinite(observation).all():
        raise NotFinite("an observation")
    return observation
