"""A run's environment as the loop sees it: episodes by number, flat finite observations, and what
goes wrong told with where it did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sparl import envs
from sparl.errors import Diverged, EnvironmentFailed, SparlError
from sparl.runfolder import RunConfig


class Course:
    """Resets and steps the environment of a run.

    `where` tells the step that the run is at; `rescue` saves what was learned so far, before an
    exception of the environment ends the run; `way_out` tells what can be resumed from.
    """

    def __init__(
        self,
        run: RunConfig,
        where: Callable[[], str],
        rescue: Callable[[], None],
        way_out: Callable[[], str],
    ) -> None:
        self._run, self._where, self._rescue, self._way_out = run, where, rescue, way_out
        self.env = run.make()
        self.spaces = envs.spaces_of(self.env)
        self._seed = 0

    def reset(self, episode: int) -> np.ndarray:
        """The first observation [obs] of an episode, whose seed follows from its number."""
        self._seed = envs.episode_seed(self._run.seed, "train", episode)
        with self.guarded("reset"):
            observation, _ = self.env.reset(seed=self._seed)
        return self._finite(observation, 0.0)[0]

    def step(self, action: np.ndarray | int) -> tuple[np.ndarray, float, bool, bool]:
        """Next observation [obs], reward, terminated, truncated; of an action as agents give it."""
        with self.guarded("step"):
            observation, reward, terminated, truncated, _ = self.env.step(
                self.spaces.scaled(action)
            )
        return *self._finite(observation, float(reward)), bool(terminated), bool(truncated)

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

    def _finite(self, observation: Any, reward: float) -> tuple[np.ndarray, float]:
        flat = self.spaces.flat(observation)
        if not (math.isfinite(reward) and np.isfinite(flat).all()):
            what = "an observation" if math.isfinite(reward) else f"the reward {reward},"
            raise Diverged(
                f"{self._run.env} gave {what} that is not finite ({self._at()}). {self._way_out()}"
            )
        return flat, reward

    def _at(self) -> str:
        return f"{self._where()}, reset with seed {self._seed}"
