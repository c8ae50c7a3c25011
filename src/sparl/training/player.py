"""A run's environment, played episode by episode.

Episodes are numbered and seeded by their number; observations come flat and finite. What goes wrong
is told with where it did, after what was learned is saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl import envs
from sparl.config import RunConfig
from sparl.errors import Diverged, EnvironmentFailed, SparlError

Explore = Callable[[NDArray[np.float32]], NDArray[np.float32] | int]
"""An observation [obs] to an action as agents give it."""


class Transition(NamedTuple):
    """As `Replay.add` takes it."""

    observation: NDArray[np.float32]
    action: NDArray[np.float32] | int
    reward: float
    next_observation: NDArray[np.float32]
    terminated: bool
    ended: bool
    stream: int = 0


class EpisodePlayer:
    """Plays the episodes of a run, one after the other."""

    def __init__(
        self,
        run: RunConfig,
        where: Callable[[], str],
        rescue: Callable[[], None],
        way_out: Callable[[], str],
    ) -> None:
        """
        Args:
            where: Tells the step that the run is at.
            rescue: Saves what was learned so far, before an exception of the environment ends the
                run.
            way_out: Tells what can be resumed from.
        """
        self._run, self._where, self._rescue, self._way_out = run, where, rescue, way_out
        self.env = run.make()
        self.spaces = envs.spaces_of(self.env)
        self.begun = 0
        """Number of the episode that begins next."""
        self._seeds = [0]

    def transitions(self, explore: Explore, another: Callable[[], bool]) -> Iterator[Transition]:
        """The transitions of episodes from number `begun` on, one at a time.

        Args:
            explore: Gives the action for an observation.
            another: Whether another episode is to begin; asked whenever one has ended.
        """
        goes_on = True
        while goes_on:
            observation, ended = self._reset(), False
            while not ended:
                action = explore(observation)
                next_observation, reward, terminated, truncated = self._step(action)
                ended = terminated or truncated
                yield Transition(observation, action, reward, next_observation, terminated, ended)
                observation = next_observation
            goes_on = another()

    def close(self) -> None:
        self.env.close()

    @contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Saves what was learned before an exception of the environment ends the run."""
        try:
            yield
        except Exception as error:
            at = self._at()
            self._rescue()
            if isinstance(error, SparlError):
                raise
            raise EnvironmentFailed(
                f"{self._run.env} raised {type(error).__name__} in {doing}: {error} ({at}). "
                f"{self._way_out()}"
            ) from error

    def _reset(self) -> NDArray[np.float32]:
        """The first observation [obs] of an episode."""
        self._seeds = [self._next_seed()]
        with self.guarded("reset"):
            observation, _ = self.env.reset(seed=self._seeds[0])
        return self._finite(observation, 0.0)[0]

    def _step(self, action: NDArray[np.float32] | int) -> tuple[Any, float, bool, bool]:
        """Next observation [obs], reward, terminated, truncated; of an action as agents give it."""
        with self.guarded("step"):
            observation, reward, terminated, truncated, _ = self.env.step(
                self.spaces.scaled(action)
            )
        return *self._finite(observation, float(reward)), bool(terminated), bool(truncated)

    def _next_seed(self) -> int:
        """That of the episode which begins now: it follows from the episode's number."""
        self.begun += 1
        return envs.episode_seed(self._run.seed, "train", self.begun - 1)

    def _finite(self, observation: Any, reward: float) -> tuple[NDArray[np.float32], float]:
        flat = self.spaces.flat(observation)
        if not (math.isfinite(reward) and np.isfinite(flat).all()):
            what = "an observation" if math.isfinite(reward) else f"the reward {reward},"
            raise Diverged(
                f"{self._run.env} gave {what} that is not finite ({self._at()}). {self._way_out()}"
            )
        return flat, reward

    def _at(self) -> str:
        seeds = ", ".join(map(str, self._seeds))
        return f"{self._where()}, reset with seed{'s' if len(self._seeds) > 1 else ''} {seeds}"
