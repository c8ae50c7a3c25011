"""Evaluation: the returns of a policy without exploration, in environments of its own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sparl import envs, validation
from sparl.config import RunConfig
from sparl.envs import Spaces, failures_told
from sparl.errors import BadEnvironment, BadRun, Diverged

SIDE_BY_SIDE = 10
"""Episodes that are stepped together, so that one call acts for all of them."""


@dataclass(frozen=True)
class Evaluation:
    """The undiscounted return and the length of each episode."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    cut: int = 0
    """How many of them were cut because they did not end."""
    left_out: int = 0
    """How many more there were, in which a number was not finite: they have no return."""

    @property
    def mean_return(self) -> float:
        """The mean of the returns; raises `Diverged` where every episode was left out."""
        if not self.returns:
            raise Diverged(
                "no episode of the evaluation has a return: in each, a number was not finite. "
                "Bound them in the environment (np.clip)"
            )
        return float(np.mean(self.returns))

    @property
    def std_return(self) -> float:
        """The standard deviation of the returns."""
        return float(np.std(self.returns))

    @property
    def mean_length(self) -> float:
        """The mean length of the episodes, in steps."""
        return float(np.mean(self.lengths))

    def is_worse_than(self, other: Evaluation) -> bool:
        """Whether its mean return is lower by more than the other's episodes make likely.

        That is by two standard errors of the other's mean, and by 1 % of it at least.
        """
        error = other.std_return / math.sqrt(len(other.returns))
        margin = max(2 * error, 0.01 * abs(other.mean_return))
        return self.mean_return < other.mean_return - margin

    @property
    def counted(self) -> str:
        """How many episodes have a return, how many of these were cut, and how many more were left
        out, in words."""
        count = len(self.returns)
        rest = [
            f"{number} {what}"
            for number, what in ((self.cut, "cut"), (self.left_out, "left out"))
            if number
        ]
        return f"{count} episode{'' if count == 1 else 's'}" + (
            f" ({', '.join(rest)})" if rest else ""
        )

    def as_dict(self) -> dict[str, Any]:
        """All figures in a form that can be written as JSON."""
        return {
            "mean_return": self.mean_return,
            "std_return": self.std_return,
            "episodes": len(self.returns),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "cut": self.cut,
            "left_out": self.left_out,
        }


def return_text(value: float) -> str:
    """A return as people read it: with a digit behind the point, small ones with three digits."""
    return f"{value:.1f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"


Act = Callable[[NDArray[np.float32]], NDArray[Any]]
"""A policy: [batch, obs] to [batch, act] in [-1, 1], or to the numbers of discrete actions,
[batch]."""


class Evaluator:
    """Plays episodes of a run's environment, always from the same seeds."""

    def __init__(
        self,
        run: RunConfig,
        spaces: Spaces,
        episodes: int,
        seed: int,
        shared: gym.Env | None = None,
    ) -> None:
        """
        Args:
            episodes: Number of episodes of one evaluation.
            seed: The seed from which the episodes' seeds follow.
            shared: The environment to play in; new ones are made if None.

        Raises:
            BadEnvironment: New ones cannot be made.
        """
        validation.at_least(0, seed=seed)
        self._run, self.spaces = run, spaces
        self.seeds = [envs.episode_seed(seed, "eval", i) for i in range(episodes)]
        self._stack = ExitStack()
        # A simulator that exists once is one afterwards, too.
        count = 1 if run.eval_env == "shared" else min(episodes, SIDE_BY_SIDE)
        self._envs = [shared] if shared is not None else self._made(count)

    def __call__(self, act: Act) -> Evaluation:
        """Evaluates a policy.

        Raises:
            Diverged: The environment gave a number that is not finite, and `nonfinite` is stop.
            EnvironmentFailed: It raised an exception.
        """
        validation.at_least(1, episodes=len(self.seeds))
        returns: list[float] = []
        lengths: list[int] = []
        cut, left_out, together = 0, 0, len(self._envs)
        for first in range(0, len(self.seeds), together):
            played = self._play(act, self.seeds[first : first + together])
            returns += played.returns
            lengths += played.lengths
            cut, left_out = cut + played.cut, left_out + played.left_out
        evaluation = Evaluation(tuple(returns), tuple(lengths), cut, left_out)
        if returns and not math.isfinite(evaluation.mean_return):
            raise Diverged(f"the mean return of an evaluation is {evaluation.mean_return}")
        return evaluation

    def _made(self, count: int) -> list[gym.Env]:
        make, made = self._run.maker(), []
        try:
            for _ in range(count):
                made.append(self._stack.enter_context(closing(make())))
            found = envs.spaces_of(made[0], self._run.round_actions) if made else self.spaces
            if other := found.differences(self.spaces):
                self._stack.close()
                raise BadRun(
                    f"{self._run.env} has other spaces than the policy was trained with: {other}"
                )
        except BadEnvironment as error:
            self._stack.close()
            raise BadEnvironment(
                f"{error}. An evaluation plays in environments of its own, {count} of them. If "
                "there can be one alone, let it use the training's between episodes: eval_env "
                "shared"
            ) from error
        return made

    def _play(self, act: Act, seeds: list[int]) -> Evaluation:
        limit = self._run.eval_max_steps
        observations = np.stack(
            [self._reset(env, seed) for env, seed in zip(self._envs, seeds, strict=False)]
        )
        returns, lengths = [0.0] * len(seeds), [0] * len(seeds)
        whole = np.atleast_1d(np.isfinite(observations).all(axis=1))
        for i in np.flatnonzero(~whole).tolist():
            self._refuse_nonfinite(seeds[i])
            observations[i] = 0.0
        playing, cut = np.flatnonzero(whole).tolist(), 0
        while playing:
            # Actions for ended episodes, too: a smaller batch would have to be compiled.
            actions = self.spaces.to_env_actions(act(observations))
            for i in list(playing):
                with self._told(seeds[i]):
                    step = self._envs[i].step(actions[i])
                observation, reward, terminated, truncated, _ = step
                reward = float(reward)
                observation = self.spaces.flat_one(observation)
                if not (math.isfinite(reward) and np.isfinite(observation).all()):
                    self._refuse_nonfinite(seeds[i])
                    playing.remove(i)
                    whole[i] = False
                    continue
                observations[i] = observation
                returns[i] += reward
                lengths[i] += 1
                if terminated or truncated:
                    playing.remove(i)
                elif lengths[i] >= limit:
                    playing.remove(i)
                    cut += 1
        kept = np.flatnonzero(whole).tolist()
        of_kept = tuple(returns[i] for i in kept), tuple(lengths[i] for i in kept)
        return Evaluation(*of_kept, cut, len(seeds) - len(kept))

    def _reset(self, env: gym.Env, seed: int) -> NDArray[np.float32]:
        with self._told(seed):
            observation, _ = env.reset(seed=seed)
        return self.spaces.flat_one(observation)

    def _told(self, seed: int) -> AbstractContextManager[None]:
        """A context in which whatever the environment raises becomes `EnvironmentFailed`."""
        return failures_told(self._run.env, "in an evaluation", seed)

    def _refuse_nonfinite(self, seed: int) -> None:
        if self._run.nonfinite == "stop":
            raise Diverged(
                f"{self._run.env} gave a number that is not finite in an evaluation (reset with "
                f"seed {seed}). Bound it in the environment (np.clip), or leave such episodes "
                "out: nonfinite skip"
            )

    def close(self) -> None:
        """Closes the environments that were made for evaluations."""
        self._stack.close()


@contextmanager
def evaluating(
    run: RunConfig, spaces: Spaces, episodes: int, seed: int
) -> Iterator[Callable[[Act], Evaluation]]:
    """A context that gives an `Evaluator`. If its environments cannot be closed, that is told, and
    what they gave stays."""
    evaluator = Evaluator(run, spaces, episodes, seed)
    try:
        yield evaluator
    finally:
        try:
            evaluator.close()
        except Exception as error:
            told = f"an environment could not be closed: {type(error).__name__}: {error}"
            print(f"sparl: {told}", file=sys.stderr)
