"""Evaluation: the returns of a policy without exploration, in environments of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import envs, validation
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadEnvironment

SIDE_BY_SIDE = 10
"""Episodes that are stepped together, so that one call acts for all of them."""

LONGEST = 100_000
"""Steps after which sparl assumes that an episode never ends."""


@dataclass(frozen=True)
class Evaluation:
    """The undiscounted return and the length of each episode."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean_return(self) -> float:
        """The mean of the returns."""
        return float(np.mean(self.returns))

    @property
    def std_return(self) -> float:
        """The standard deviation of the returns."""
        return float(np.std(self.returns))

    @property
    def mean_length(self) -> float:
        """The mean length of the episodes, in steps."""
        return float(np.mean(self.lengths))

    def as_dict(self) -> dict[str, Any]:
        """All figures in a form that can be written as JSON."""
        return {
            "mean_return": self.mean_return,
            "std_return": self.std_return,
            "episodes": len(self.returns),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
        }


Act = Callable[[NDArray[np.float32]], NDArray[Any]]
"""A policy: [batch, obs] to [batch, act] in [-1, 1], or to the numbers of discrete actions,
[batch]."""


class Evaluator:
    """Plays episodes of a run's environment, always from the same seeds."""

    def __init__(self, run: RunConfig, spaces: Spaces, episodes: int, seed: int) -> None:
        """
        Args:
            episodes: Number of episodes of one evaluation.
            seed: The seed from which the episodes' seeds follow.
        """
        validation.at_least(1, episodes=episodes)
        validation.at_least(0, seed=seed)
        self.env_id, self.spaces = run.env, spaces
        self.seeds = [envs.episode_seed(seed, "eval", i) for i in range(episodes)]
        self._stack = ExitStack()
        self._envs = [
            self._stack.enter_context(closing(run.make()))
            for _ in range(min(episodes, SIDE_BY_SIDE))
        ]

    def __call__(self, act: Act) -> Evaluation:
        """Evaluates a policy.

        Raises:
            BadEnvironment: An episode does not end.
        """
        returns: list[float] = []
        lengths: list[int] = []
        for first in range(0, len(self.seeds), SIDE_BY_SIDE):
            played = self._play(act, self.seeds[first : first + SIDE_BY_SIDE])
            returns += played.returns
            lengths += played.lengths
        return Evaluation(tuple(returns), tuple(lengths))

    def _play(self, act: Act, seeds: list[int]) -> Evaluation:
        observations = np.stack(
            [
                self.spaces.flat(env.reset(seed=seed)[0])
                for env, seed in zip(self._envs, seeds, strict=False)
            ]
        )
        returns, lengths = [0.0] * len(seeds), [0] * len(seeds)
        playing = list(range(len(seeds)))
        while playing:
            if lengths[playing[0]] == LONGEST:
                raise BadEnvironment(
                    f"an episode of {self.env_id} has not ended after {LONGEST} steps, so it "
                    "cannot be evaluated. Register it with max_episode_steps"
                )
            # Actions for ended episodes, too: a smaller batch would have to be compiled.
            actions = self.spaces.to_env_action(act(observations))
            for i in list(playing):
                observation, reward, terminated, truncated, _ = self._envs[i].step(actions[i])
                observations[i] = self.spaces.flat(observation)
                returns[i] += float(reward)
                lengths[i] += 1
                if terminated or truncated:
                    playing.remove(i)
        return Evaluation(tuple(returns), tuple(lengths))

    def close(self) -> None:
        """Closes the environments."""
        self._stack.close()
