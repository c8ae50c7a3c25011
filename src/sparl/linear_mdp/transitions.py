"""What fitted Q-iteration learns from: transitions, collected or given, and their features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sparl import envs
from sparl.errors import BadEnvironment, BadValue
from sparl.linear_mdp.mdp import Episodes, SparseLinearMDP

FeatureMap = Callable[[NDArray[Any]], NDArray[Any]]
"""phi: observations [n, obs] to the features of all their actions, [n, actions, d]."""

RewardMap = Callable[[NDArray[Any]], NDArray[Any]]
"""Known rewards: observations [n, obs] to [n, actions]."""


@dataclass(frozen=True)
class Transitions:
    """A data set: n transitions, of whatever policies.

    Raises `BadValue` for an empty one, for lengths that differ, and for what is not finite.
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
    """Whether nothing came after, [n]; a time limit is no end."""
    episodes: NDArray[np.integer]
    """The number of the episode that each is of, [n]: folds are made of whole episodes."""

    def __post_init__(self) -> None:
        lengths = {name: len(value) for name, value in vars(self).items()}
        if not len(self.actions):
            raise BadValue("the data set of transitions is empty: collect some episodes first")
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise BadValue(f"a data set has as many of each as there are transitions, not {told}")
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
        return len(self.actions)

    def folds(self, count: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        """The rows of `count` parts of about as many whole episodes each, drawn at random."""
        numbers = np.unique(self.episodes)
        if len(numbers) < count:
            raise BadValue(
                f"{len(numbers)} episodes cannot be split into {count} folds: collect more, or "
                "learn every step from all of them (fold=False)"
            )
        parts = np.array_split(rng.permutation(numbers), count)
        return [np.flatnonzero(np.isin(self.episodes, part)) for part in parts]


def of_episodes(mdp: SparseLinearMDP, episodes: Episodes) -> Transitions:
    """Simulated episodes of an MDP as a data set.

    Nothing in it is an end: after an episode's last step comes what would come after that state and
    action at any other step, and that is what is learned.
    """
    before, after = episodes.states[:, :-1].reshape(-1), episodes.states[:, 1:].reshape(-1)
    actions = episodes.actions.reshape(-1)
    ends = np.zeros(len(actions), bool)
    numbers = np.repeat(np.arange(len(episodes.actions)), mdp.horizon)
    rewards = mdp.rewards[before, actions]
    return Transitions(mdp.observe(before), actions, rewards, mdp.observe(after), ends, numbers)


Policy = Callable[[np.random.Generator], Callable[[NDArray[Any]], int]]
"""Called at an episode's beginning, it gives what gives an action, counted from 0, for each of its
flat observations [obs]."""


def uniformly(actions: int) -> Policy:
    """The policy to which all actions are equal."""
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
    """Plays so many episodes, or steps, the last episode being left where they end.

    For any environment with discrete actions and Box observations. Episodes are reset with seeds
    derived from `seed` and `stream`. Raises `BadValue` where that is no step at all,
    `BadEnvironment` for other spaces.
    """
    spaces = envs.spaces_of(env)
    if not spaces.discrete:
        raise BadEnvironment(
            "the environment has continuous actions; fitted Q-iteration takes the best of a few: "
            "give it some with sparl.linear_mdp.features.FewActions"
        )
    rng = np.random.default_rng([seed, *stream.encode()])
    limits = math.inf if episodes is None else episodes, math.inf if steps is None else steps
    if limits == (math.inf, math.inf):
        raise BadValue("say how much to collect: episodes or steps")
    rows: list[tuple[Any, int, float, Any, bool, int]] = []
    episode = 0
    while episode < limits[0] and len(rows) < limits[1]:
        observation, _ = env.reset(seed=envs.episode_seed(seed, stream, episode))
        flat, act, ended = np.asarray(observation).reshape(-1), policy(rng), False
        while not ended and len(rows) < limits[1]:
            action = int(act(flat))
            observation, reward, terminated, cut, _ = env.step(spaces.scaled(action))
            after = np.asarray(observation).reshape(-1)
            rows.append((flat, action, float(reward), after, bool(terminated), episode))
            flat, ended = after, terminated or cut
        episode += 1
    if not rows:
        raise BadValue(
            f"{episodes} episodes and {steps} steps are no data: explore for one at least"
        )
    return Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


def joined(first: Transitions, then: Transitions) -> Transitions:
    """Both data sets as one; the episodes of the second are numbered on."""
    episodes = then.episodes + first.episodes.max() + 1
    then = replace(then, episodes=episodes)
    return Transitions(*(np.concatenate([one, vars(then)[k]]) for k, one in vars(first).items()))


class Table:
    """The features of the observations of a data set: of each that is different, once.

    In a finite MDP these are few, however many transitions there are. In memory are as many numbers
    as distinct observations x actions x d.
    """

    def __init__(self, data: Transitions, features: FeatureMap, rewards: RewardMap | None) -> None:
        """Raises `BadValue` for features or rewards of a wrong shape, or not finite, and for
        actions that the features are not of."""
        both = np.concatenate([data.observations, data.next_observations])
        seen, which = np.unique(both, axis=0, return_inverse=True)
        self.features = checked(features, seen)
        """[distinct, actions, d]."""
        self._before, self._after = np.split(which.reshape(-1), 2)
        actions = self.features.shape[1]
        wrong = (data.actions < 0) | (data.actions >= actions)
        if wrong.any():
            raise BadValue(
                f"action {data.actions[np.argmax(wrong)]} of transition {np.argmax(wrong)}: the "
                f"feature map gives features of the actions 0 to {actions - 1}"
            )
        self.rewards = np.zeros(self.features.shape[:2])
        if rewards is not None:
            self.rewards = np.asarray(rewards(seen), float)
            if self.rewards.shape != self.features.shape[:2]:
                raise BadValue(
                    f"the known rewards have shape {self.rewards.shape}: for {len(seen)} "
                    f"observations they must be {self.features.shape[:2]}"
                )
        # Rewards that are not known are part of what is regressed on.
        self._gained = np.zeros(data.count) if rewards is not None else data.rewards
        self._on = ~data.terminated
        self._pair = self._before * actions + data.actions

    def targets(self, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """What each transition says of its state and action, [n], where observations are worth
        `value` [distinct]."""
        return self._gained + self._on * value[self._after]

    def regression(
        self, rows: NDArray[np.intp], targets: NDArray[np.float64], merged: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """x [p, d], y [p] and how often each was met [p], of these rows.

        Merged, each pair of an observation and an action is there once, with its mean y: the same
        least-squares problem, but for a constant.
        """
        pairs, y, counts = self._pair[rows], targets[rows], np.ones(len(rows))
        if merged:
            pairs, which, counts = np.unique(pairs, return_inverse=True, return_counts=True)
            y = np.bincount(which, weights=y) / counts
        observation, action = np.divmod(pairs, self.features.shape[1])
        return self.features[observation, action], y, counts.astype(float)


def checked(features: FeatureMap, observations: NDArray[Any]) -> NDArray[np.float64]:
    """The features of observations, [n, actions, d]. Raises `BadValue` where they are not that, or
    not finite."""
    found = np.asarray(features(observations), float)
    if found.ndim != 3 or len(found) != len(observations) or 0 in found.shape:
        raise BadValue(
            f"the feature map gives shape {found.shape} for observations of shape "
            f"{observations.shape}: it must be [{len(observations)}, actions, features]"
        )
    if not np.isfinite(found).all():
        row, action, feature = np.argwhere(~np.isfinite(found))[0]
        raise BadValue(
            f"feature {feature} of action {action} is {found[row, action, feature]} for the "
            f"observation {_short(observations[row])}: features must be finite. Bound them, or "
            "leave that observation out"
        )
    return found


def _short(row: NDArray[Any]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in row[:6])
    return f"[{shown}{', …' if len(row) > 6 else ''}]"
