"""What updates see the rows of a replay through: normalised observations, scaled rewards.

The replay keeps both as the environment gave them. They are scaled by the statistics of the moment
whenever an update reads them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sparl.networks import Normalization, RunningStatistics
from sparl.replay import Batch

EPSILON = 1e-8
"""Added to the variance of returns, so that returns that are all 0 can be divided by it."""
LEAST_SPREAD = 0.1
"""Least deviation of returns that is divided by, as a share of their mean: where all returns are
alike, rewards would be blown up."""


class Scales(NamedTuple):
    """What observations and rewards of a batch are scaled by; None: left as they are."""

    observations: Normalization | None = None
    reward: Any = None
    """What rewards are multiplied by, one number."""

    def __call__(self, batch: Batch) -> Batch:
        """A batch as the agent's update sees it."""
        if self.observations is not None:
            batch = batch._replace(
                observation=self.observations(batch.observation),
                next_observation=self.observations(batch.next_observation),
            )
        if self.reward is not None:
            batch = batch._replace(reward=self.reward * batch.reward)
        return batch


class DiscountedReturns:
    """The discounted returns of the episodes under way, and their statistics over all steps.

    After every step of an episode its return is G = r + gamma * G. Rewards are divided by the
    running deviation of all these G, so that values are of the order of 1 in any environment.
    """

    def __init__(self, gamma: float) -> None:
        self._gamma = gamma
        self._under_way: dict[int, float] = {}
        """G by environment, of those whose episode goes on."""
        self._count, self._mean, self._deviations = 0, 0.0, 0.0

    @property
    def statistics(self) -> RunningStatistics:
        """Those of all G so far."""
        mean, deviations = np.array([self._mean]), np.array([self._deviations])
        return RunningStatistics(np.array(self._count, np.int64), mean, deviations)

    @statistics.setter
    def statistics(self, found: RunningStatistics) -> None:
        self._count = int(found.count)
        (self._mean,), (self._deviations,) = found.mean.tolist(), found.deviations.tolist()

    def include(self, rewards: Float[np.ndarray, " n"], ended: NDArray[Any], stream: int) -> None:
        """Counts the next steps of an environment.

        Args:
            rewards: Of each step.
            ended: Whether the episode was over with it.
            stream: The number of the environment.
        """
        running = self._under_way.get(stream, 0.0)
        # Numbers of Python: this is done at every step, and arrays of one entry are slow.
        for reward, over in zip(rewards.tolist(), ended.tolist(), strict=True):
            running = reward + self._gamma * running
            shift = running - self._mean
            share = 1 / (self._count + 1)
            self._mean += shift * share
            self._deviations += shift * shift * (self._count * share)
            self._count += 1
            running = 0.0 if over else running
        self._under_way[stream] = running

    def cut(self, stream: int | None = None) -> None:
        """Forgets the episode under way of an environment; of all, if none is given."""
        self._under_way = {} if stream is None else self._under_way | {stream: 0.0}

    @property
    def scale(self) -> Float[np.ndarray, ""]:
        """What rewards are multiplied by, in float32; 1 before the first step."""
        (variance,), (mean,) = self.statistics.variance, self.statistics.mean
        spread = max(variance, (LEAST_SPREAD * mean) ** 2)
        return np.asarray(1.0 / np.sqrt(spread + EPSILON), np.float32)


class Seen:
    """The statistics that a run's batches are scaled by; `Engine` derives from it."""

    def __init__(
        self, observation_size: int | None, gamma: float | None, clip: float | None = None
    ) -> None:
        """
        Args:
            observation_size: Of observations that are to be normalised, else None.
            gamma: Discount of rewards that are to be scaled, else None.
            clip: How far from 0 normalised observations may be; None for any distance.
        """
        self._clip = clip
        self.statistics = None
        if observation_size is not None:
            self.statistics = RunningStatistics.start(observation_size)
        """Those that observations are normalised by; None where they are not."""
        self.discounted_returns = None if gamma is None else DiscountedReturns(gamma)
        """Those that rewards are scaled by; None where they are not."""

    def observe(self, observation: NDArray[np.float32]) -> None:
        """Counts observations of training, [obs] or [batch, obs], into the statistics, if any."""
        if self.statistics is not None:
            self.statistics = self.statistics.including(observation)

    def reward(self, rewards: Any, ended: Any, stream: int = 0) -> None:
        """Counts the next rewards of one environment into the returns, if any.

        Args:
            rewards: One, or of several steps [n].
            ended: Whether the episode was over with that step, of each.
            stream: The number of the environment.
        """
        if self.discounted_returns is not None:
            self.discounted_returns.include(np.atleast_1d(rewards), np.atleast_1d(ended), stream)

    def cut_returns(self, stream: int | None = None) -> None:
        """An episode under way was given up; all of them if no environment is named."""
        if self.discounted_returns is not None:
            self.discounted_returns.cut(stream)

    @property
    def normalization(self) -> Normalization | None:
        """What networks see observations through at this moment."""
        if self.statistics is None:
            return None
        return self.statistics.normalization._replace(clip=self._clip)

    @property
    def scales(self) -> Scales:
        """What an update sees its batch through at this moment."""
        discounted = self.discounted_returns
        return Scales(self.normalization, None if discounted is None else discounted.scale)

    def normalized(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Observations as the networks see them."""
        normalization = self.normalization
        return observation if normalization is None else normalization(observation)

    @property
    def statistics_arrays(self) -> dict[str, RunningStatistics]:
        """What a checkpoint must hold of them."""
        arrays = {} if self.statistics is None else {"observations": self.statistics}
        if self.discounted_returns is not None:
            arrays["returns"] = self.discounted_returns.statistics
        return arrays

    def restore_statistics(self, arrays: dict[str, Any]) -> None:
        """Takes back what `statistics_arrays` gave; no episode is under way then."""
        self.statistics = arrays.get("observations")
        if self.discounted_returns is not None:
            self.discounted_returns.cut()
            self.discounted_returns.statistics = arrays["returns"]
