"""Returns of a policy without exploration, on environments of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import envs
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadEnvironment

SIDE_BY_SIDE = 10
"""Episodes that are stepped together, so that acting costs one call for all of them."""

LONGEST = 100_000
"""Steps after which an episode counts as one that never ends."""


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted return and length of each episode."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean_return(self) -> float:
        return float(np.mean(self.returns))

    @property
    def std_return(self) -> float:
        return float(np.std(self.returns))

    @property
    def mean_length(self) -> float:
        return float(np.mean(self.lengths))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "mean_return": self.mean_return,
            "std_return": self.std_return,
            "episodes": len(self.returns),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
        }


Act = Callable[[NDArray[np.float32]], NDArray[Any]]
"""[batch, obs] to [batch, act] in [-1, 1], or to choices [batch]."""


class Evaluator:
    """Plays `episodes` episodes of a run's environment, always from the same seeds."""

    def __init__(self, run: RunConfig, spaces: Spaces, episodes: int, seed: int) -> None:
        self.env_id, self.spaces = run.env, spaces
        self.seeds = [envs.episode_seed(seed, "eval", i) for i in range(episodes)]
        self._stack = ExitStack()
        self._envs = [
            self._stack.enter_context(closing(run.make()))
            for _ in range(min(episodes, SIDE_BY_SIDE))
        ]

    def __call__(self, act: Act) -> Evaluation:
        returns: list[float] = []
        lengths: list[int] = []
        for first in range(0, len(self.seeds), SIDE_BY_SIDE):
            found = self._play(act, self.seeds[first : first + SIDE_BY_SIDE])
            returns += found.returns
            lengths += found.lengths
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
            # Always all of them: a batch that shrank with the episodes would compile anew.
            actions = self.spaces.scaled(act(observations))
            for i in list(playing):
                observation, reward, terminated, truncated, _ = self._envs[i].step(actions[i])
                observations[i] = self.spaces.flat(observation)
                returns[i] += float(reward)
                lengths[i] += 1
                if terminated or truncated:
                    playing.remove(i)
        return Evaluation(tuple(returns), tuple(lengths))

    def close(self) -> None:
        self._stack.close()
