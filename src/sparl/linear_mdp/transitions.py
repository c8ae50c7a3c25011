"""The data of fitted Q-iteration: transitions, collected or given, and their features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sparl import envs
from sparl.envs import failures_told
from sparl.errors import BadEnvironment, BadValue
from sparl.linear_mdp.mdp import Episodes, SparseLinearMDP

FeatureMap = Callable[[NDArray[Any]], NDArray[Any]]
"""phi: from observations, [n, obs], to the features of all their actions, [n, actions, d]."""

RewardMap = Callable[[NDArray[Any]], NDArray[Any]]
"""Known rewards: from observations, [n, obs], to [n, actions]."""


@dataclass(frozen=True)
class Transitions:
    """A data set of n transitions, from any policies.

    Raises:
        BadValue: The data set is empty, its arrays differ in length, or a number is not finite.
    """

    observations: NDArray[Any]
    """[n, obs]."""
    actions: NDArray[np.integer]
    """Counted from 0, [n]."""
    rewards: NDArray[np.floating]
    """[n]."""
    next_observations: NDArray[Any]
    """[n, obs]."""
    terminated: NDArray[np.bool_]
    """Whether the next state is terminal, [n]; a time limit does not count."""
    episodes: NDArray[np.integer]
    """The number of each transition's episode, [n]; folds consist of whole episodes."""

    def __post_init__(self) -> None:
        lengths = {name: len(value) for name, value in vars(self).items()}
        if not len(self.actions):
            raise BadValue("the data set of transitions is empty: collect some episodes first")
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise BadValue(f"a data set has one of each for every transition, not {counts}")
        shapes = np.shape(self.observations), np.shape(self.next_observations)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1]:
            raise BadValue(
                f"observations and next observations have shapes {shapes[0]} and {shapes[1]}: "
                "both must be [transitions, entries]"
            )
        for name in ("observations", "rewards", "next_observations"):
            finite = np.isfinite(getattr(self, name))
            if not finite.all():
                row = int(np.argmin(finite.reshape(len(finite), -1).all(1)))
                raise BadValue(f"{name} of transition {row} are not finite: leave it out")

    @property
    def count(self) -> int:
        """n."""
        return len(self.actions)

    def folds(self, count: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        """The rows of `count` random folds, each of about the same number of whole episodes.

        Raises:
            BadValue: There are fewer episodes than folds.
        """
        numbers = np.unique(self.episodes)
        if len(numbers) < count:
            raise BadValue(
                f"{len(numbers)} episodes cannot be split into {count} folds: collect more, or "
                "let every step learn from all of them (fold=False)"
            )
        parts = np.array_split(rng.permutation(numbers), count)
        return [np.flatnonzero(np.isin(self.episodes, part)) for part in parts]


def of_episodes(mdp: SparseLinearMDP, episodes: Episodes) -> Transitions:
    """Simulated episodes of an MDP as a data set.

    No transition is terminal. The MDP is the same at every step, so the last step of an episode
    teaches what follows its state and action at any other step.
    """
    states = episodes.states[:, :-1].reshape(-1)
    next_states = episodes.states[:, 1:].reshape(-1)
    actions = episodes.actions.reshape(-1)
    return Transitions(
        observations=mdp.observe(states),
        actions=actions,
        rewards=mdp.rewards[states, actions],
        next_observations=mdp.observe(next_states),
        terminated=np.zeros(len(actions), bool),
        episodes=np.repeat(np.arange(len(episodes.actions)), mdp.horizon),
    )


Policy = Callable[[np.random.Generator], Callable[[NDArray[Any]], int]]
"""Called at the beginning of an episode with a generator. It returns the episode's function from a
flat observation, [obs], to an action, counted from 0."""


def uniformly(actions: int) -> Policy:
    """The policy that draws every action with the same probability."""
    return lambda rng: lambda observation: int(rng.integers(actions))


def collect(
    env: gym.Env,
    policy: Policy,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    stream: str = "explore",
) -> Transitions:
    """Plays episodes and returns their transitions.

    Args:
        env: Any environment with discrete actions and Box observations.
        policy: Chooses the actions.
        episodes: How many episodes are played at most.
        steps: How many steps are played at most; the last episode may be cut short.
        seed: With `stream`, determines the seeds of the episodes and of the policy.
        stream: A name, so that data sets with the same seed can differ.

    Raises:
        BadValue: Neither `episodes` nor `steps` is given, or no step would be played.
        BadEnvironment: The environment has other spaces.
    """
    spaces = envs.spaces_of(env)
    if not spaces.discrete:
        raise BadEnvironment(
            "the environment has continuous actions; fitted Q-iteration takes the best of a few "
            "discrete actions: wrap it in sparl.linear_mdp.FewActions"
        )
    rng = np.random.default_rng([seed, *stream.encode()])
    most_episodes = math.inf if episodes is None else episodes
    most_steps = math.inf if steps is None else steps
    if most_episodes == most_steps == math.inf:
        raise BadValue("say how much to collect: episodes or steps")
    rows: list[tuple[Any, int, float, Any, bool, int]] = []
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    episode = 0
    while episode < most_episodes and len(rows) < most_steps:
        episode_seed = envs.episode_seed(seed, stream, episode)
        told = partial(failures_told, name, "while it was explored", episode_seed)
        with told():
            observation, _ = env.reset(seed=episode_seed)
        # Copies: many environments give the same array at every step.
        flat, act, ended = np.array(observation).reshape(-1), policy(rng), False
        while not ended and len(rows) < most_steps:
            action = int(act(flat))
            with told():
                observation, reward, terminated, truncated, _ = env.step(
                    spaces.to_env_action(action)
                )
            next_flat = np.array(observation).reshape(-1)
            rows.append((flat, action, envs.scalar(reward), next_flat, bool(terminated), episode))
            flat, ended = next_flat, terminated or truncated
        episode += 1
    if not rows:
        raise BadValue(
            f"{episodes} episodes and {steps} steps give no transition: collect at least one step"
        )
    return Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


def concatenate(first: Transitions, second: Transitions) -> Transitions:
    """Two data sets as one; the second one's episodes get new numbers."""
    episodes = second.episodes + first.episodes.max() + 1
    columns = vars(replace(second, episodes=episodes))
    return Transitions(
        *(np.concatenate([column, columns[name]]) for name, column in vars(first).items())
    )


class LeastSquares(NamedTuple):
    """The rows of one least-squares problem."""

    x: NDArray[np.float64]
    """Features, [p, d]."""
    y: NDArray[np.float64]
    """Mean targets, [p]."""
    counts: NDArray[np.float64]
    """How many transitions each row stands for, [p]."""


class Table:
    """The features of all distinct observations in a data set, each computed once.

    In a finite MDP these are few, however many transitions there are. The table takes distinct
    observations x actions x d numbers of memory.

    Attributes:
        features: phi, [distinct, actions, d].
        rewards: The known rewards, [distinct, actions]; zeros if they are not known.
    """

    def __init__(self, data: Transitions, features: FeatureMap, rewards: RewardMap | None) -> None:
        """The table of a data set.

        Args:
            data: The transitions.
            features: phi.
            rewards: The rewards, if they are known. If not, they become part of the targets.

        Raises:
            BadValue: Features or rewards have a wrong shape or are not finite, or the data has an
                action without features.
        """
        all_observations = np.concatenate([data.observations, data.next_observations])
        distinct, number = np.unique(all_observations, axis=0, return_inverse=True)
        self.features = checked_features(features, distinct)
        observed, self._next_observed = np.split(number.reshape(-1), 2)
        actions = self.features.shape[1]
        wrong = (data.actions < 0) | (data.actions >= actions)
        if wrong.any():
            raise BadValue(
                f"action {data.actions[np.argmax(wrong)]} of transition {np.argmax(wrong)}: the "
                f"feature map gives features of the actions 0 to {actions - 1}"
            )
        self.rewards = np.zeros(self.features.shape[:2])
        if rewards is not None:
            self.rewards = np.asarray(rewards(distinct), float)
            if self.rewards.shape != self.features.shape[:2]:
                raise BadValue(
                    f"the known rewards have shape {self.rewards.shape}: for {len(distinct)} "
                    f"observations they must be {self.features.shape[:2]}"
                )
            if not np.isfinite(self.rewards).all():
                raise BadValue("a known reward is not finite: fitted values would be none either")
        self._unknown_rewards = np.zeros(data.count) if rewards is not None else data.rewards
        self._continues = ~data.terminated
        self._pair = observed * actions + data.actions

    def targets(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """The target of each transition, [n].

        Args:
            value: Of each distinct observation, [distinct].
        """
        return self._unknown_rewards + self._continues * value[self._next_observed]

    def regression(
        self, rows: NDArray[np.intp], targets: NDArray[np.float64], merged: bool = True
    ) -> LeastSquares:
        """The least-squares problem of some transitions.

        Args:
            rows: The numbers of the transitions.
            targets: Of all transitions, [n].
            merged: Whether transitions with the same observation and action become one row with
                their mean target. The least-squares problem is then the same but for a constant.
        """
        pairs, y, counts = self._pair[rows], targets[rows], np.ones(len(rows))
        if merged:
            pairs, number, counts = np.unique(pairs, return_inverse=True, return_counts=True)
            y = np.bincount(number, weights=y) / counts
        observation, action = np.divmod(pairs, self.features.shape[1])
        return LeastSquares(self.features[observation, action], y, counts.astype(float))


def checked_features(features: FeatureMap, observations: NDArray[Any]) -> NDArray[np.float64]:
    """The features of observations, [n, actions, d].

    Raises:
        BadValue: The feature map gives another shape, or a number that is not finite.
    """
    phi = np.asarray(features(observations), float)
    if phi.ndim != 3 or len(phi) != len(observations) or 0 in phi.shape:
        raise BadValue(
            f"the feature map gives shape {phi.shape} for observations of shape "
            f"{observations.shape}: it must be [{len(observations)}, actions, features]"
        )
    if not np.isfinite(phi).all():
        row, action, feature = np.argwhere(~np.isfinite(phi))[0]
        raise BadValue(
            f"feature {feature} of action {action} is {phi[row, action, feature]} for the "
            f"observation {_short(observations[row])}: features must be finite. Bound them, or "
            "leave that observation out"
        )
    return phi


def _short(row: NDArray[Any]) -> str:
    """The first entries of an observation, for a message."""
    shown = ", ".join(f"{value:.4g}" for value in row[:6])
    return f"[{shown}{', …' if len(row) > 6 else ''}]"
