"""Callbacks that end a run: when it is good enough, or when it does not become better."""

from __future__ import annotations

import numpy as np

from sparl import validation
from sparl.errors import BadValue
from sparl.training.callbacks import Callback
from sparl.training.collector import Host
from sparl.training.evaluation import Evaluation
from sparl.training.state import RECENT


class StopOnReturn(Callback):
    """Ends a run when its return is reached: of evaluations, or of training episodes."""

    def __init__(
        self, mean_return: float, *, evaluations: int = 1, episodes: int | None = None
    ) -> None:
        """
        Args:
            mean_return: The undiscounted return to reach.
            evaluations: Evaluations in a row whose mean returns reach it.
            episodes: Go by training episodes, exploration included, in place of evaluations: the
                mean return of this many of the newest, at most 100.

        Raises:
            BadValue: A number out of range.
        """
        validation.at_least(
            1, evaluations=evaluations, episodes=1 if episodes is None else episodes
        )
        if not np.isfinite(mean_return):
            raise BadValue(f"mean_return is {mean_return}: it must be finite")
        if episodes is not None and episodes > RECENT:
            raise BadValue(f"episodes is {episodes}: a run remembers its newest {RECENT}")
        self.mean_return, self.evaluations, self.episodes = mean_return, evaluations, episodes

    def on_start(self, trainer: Host) -> None:
        """Looks at what the run remembers from now on."""
        if self.episodes is None:
            _refuse_without_evaluations(self, trainer)
        self._trainer = trainer

    def on_episode(self, step: int, episode_return: float, length: int) -> bool | None:
        """Compares the newest training episodes."""
        if self.episodes is None:
            return None
        newest = self._trainer.state.returns[-self.episodes :]
        if len(newest) < self.episodes or np.mean(newest) < self.mean_return:
            return None
        self.reason = (
            f"the mean return of {self.episodes} training episodes reached {self.mean_return:g} "
            f"at step {step}"
        )
        return False

    def on_evaluation(self, step: int, evaluation: Evaluation) -> bool | None:
        """Compares the newest evaluations."""
        newest = [value for _, value in self._trainer.state.evaluations[-self.evaluations :]]
        if self.episodes is not None or len(newest) < self.evaluations:
            return None
        if min(newest) < self.mean_return:
            return None
        what = "an evaluation" if self.evaluations == 1 else f"{self.evaluations} evaluations"
        self.reason = f"the mean return of {what} reached {self.mean_return:g} at step {step}"
        return False


class StopOnPlateau(Callback):
    """Ends a run when its newest evaluations are no better than those before them."""

    def __init__(
        self, evaluations: int = 20, *, min_improvement: float = 0.0, after: int = 0
    ) -> None:
        """
        Args:
            evaluations: Evaluations in a row without one that is better.
            min_improvement: By how much of return one must be above the best before.
            after: Evaluations up to this step do not count.

        Raises:
            BadValue: A number out of range.
        """
        validation.at_least(1, evaluations=evaluations)
        validation.at_least(0, min_improvement=min_improvement, after=after)
        self.evaluations, self.min_improvement, self.after = evaluations, min_improvement, after

    def on_start(self, trainer: Host) -> None:
        """Looks at what the run remembers from now on."""
        _refuse_without_evaluations(self, trainer)
        self._trainer = trainer

    def on_evaluation(self, step: int, evaluation: Evaluation) -> bool | None:
        """Compares the newest evaluations with those before them."""
        made = [value for at, value in self._trainer.state.evaluations if at > self.after]
        before, newest = made[: -self.evaluations], made[-self.evaluations :]
        if not before or max(newest) > max(before) + self.min_improvement:
            return None
        self.reason = (
            f"{self.evaluations} evaluations up to step {step} were no better than {max(before):g}"
        )
        return False


def _refuse_without_evaluations(callback: Callback, trainer: Host) -> None:
    if not trainer.config.eval_episodes:
        raise BadValue(
            f"{type(callback).__name__} goes by evaluations, and eval_episodes is 0. Let the run "
            "make some"
        )
