"""Sparse linear MDPs (Hao et al., 2021, 2011.04018) as gymnasium environments, and exact planning.

P(x'|x, a) = sum over k in K of phi_k(x, a) psi_k(x'): of d features, only the s of K decide what
comes next. States and actions are finite here, so that values are sums and not estimates; how many
actions there are may depend on the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from scipy.linalg import eigvalsh

from sparl import validation
from sparl.errors import BadValue

TOLERANCE = 1e-9
"""Of sums of probabilities, and what counts as 0."""


@dataclass(frozen=True)
class Episodes:
    """States [episode, H + 1] and actions [episode, H] of several episodes."""

    states: NDArray[np.int64]
    actions: NDArray[np.int64]


class SparseLinearMDP(gym.Env):
    """A finite sparse linear MDP of fixed horizon whose rewards are known.

    As an environment: the observation is the state, one-hot [S]; it does not tell the step
    (`gymnasium.wrappers.TimeAwareObservation` adds it). There are as many actions as in the state
    that has most; elsewhere action a is action a mod that state's number, so that uniform actions
    stay uniform. After H steps an episode is cut (truncated, for no state is an end).

    A policy is an array [H, S, A] of probabilities, 0 beyond a state's own actions.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        features: Sequence[NDArray[np.floating]],
        psi: NDArray[np.floating],
        rewards: Sequence[NDArray[np.floating]],
        horizon: int,
        *,
        start: int = 0,
        exploratory: Sequence[NDArray[np.floating]] | None = None,
    ) -> None:
        """
        - `features`: of every state [its actions, d].
        - `psi`: [d, S]. The features that matter are those whose row is not 0.
        - `rewards`: of every state [its actions], in [0, 1].
        - `horizon`: H.
        - `start`: the state that episodes begin in.
        - `exploratory`: of every state the probabilities [its actions] of a policy that sees all
          directions of the features: its smallest eigenvalue must be positive.

        Raises `BadValue` where shapes do not fit, where anything is not finite, where P is no
        probability, where a smaller set of features than K gives the same P, and where the
        exploratory policy is not.
        """
        validation.at_least(1, horizon=horizon)
        self.horizon, self.start = horizon, start
        self.psi = np.asarray(psi, float)
        if self.psi.ndim != 2:
            raise BadValue(f"psi has shape {self.psi.shape}: it must be [features, states]")
        self.dimension, self.states = self.psi.shape
        blocks = [np.atleast_2d(np.asarray(block, float)) for block in features]
        self._refuse_shapes(blocks, rewards)
        self.actions = np.array([len(block) for block in blocks])
        """Of every state the number of its actions [S]."""
        self.features = np.concatenate(blocks)
        """Of every pair of a state and one of its own actions, in order: [pairs, d]."""
        # The pair that an action beyond a state's own counts as is one of that state.
        first, most = np.cumsum(self.actions) - self.actions, int(self.actions.max())
        choice = np.arange(most) % self.actions[:, None]
        self.pair = first[:, None] + choice
        """The pair of every state and action [S, A]."""
        self.own = np.arange(most) < self.actions[:, None]
        """Where an action is one of the state's own [S, A]."""
        self._of_pairs = self._probabilities()
        self.transitions = self._of_pairs[self.pair]
        """P(x'|x, a) as [S, A, S]."""
        self.rewards = np.concatenate([np.asarray(r, float) for r in rewards])[self.pair]
        """[S, A]."""
        self.support = np.flatnonzero(np.abs(self.psi).max(1) > TOLERANCE)
        """K, the features that matter."""
        rank = int(np.linalg.matrix_rank(self.features[:, self.support]))
        if rank < len(self.support):
            raise BadValue(
                f"the {len(self.support)} features whose rows of psi are not 0 have rank {rank} "
                f"over all states and actions: {rank} of them would do. Leave the others out of psi"
            )
        self.exploratory = None if exploratory is None else self._policy(exploratory)
        if self.exploratory is not None and (c := self.eigenvalue(self.exploratory)) <= TOLERANCE:
            raise BadValue(
                f"the exploratory policy's smallest eigenvalue is {c:.1e}: there is a direction of "
                "the features that it never sees. Give it other actions, or leave it out"
            )
        self.observation_space = spaces.Box(0.0, 1.0, (self.states,), np.float32)
        self.action_space = spaces.Discrete(most)
        self._state, self._step = start, 0

    # As an environment.

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self._state, self._step = self.start, 0
        return self.observe(self._state), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        state, action = self._state, int(action)
        if not 0 <= action < self.own.shape[1]:
            raise BadValue(f"action {action}: there are the actions 0 to {self.own.shape[1] - 1}")
        chances = np.cumsum(self.transitions[state, action])
        self._state = min(
            int(np.searchsorted(chances, self.np_random.random(), "right")), len(chances) - 1
        )
        self._step += 1
        cut = self._step == self.horizon
        return self.observe(self._state), float(self.rewards[state, action]), False, cut, {}

    def observe(self, state: Any) -> NDArray[np.float32]:
        """The observations [..., S] of states [...]."""
        return np.eye(self.states, dtype=np.float32)[state]

    def feature_map(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """phi(x, a) of observations [n, S] as [n, A, d]: what `LassoFQI` asks for."""
        return self.features[self.pair[np.argmax(observations, axis=-1)]]

    def reward_map(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """The known rewards of observations [n, S] as [n, A]."""
        return self.rewards[np.argmax(observations, axis=-1)]

    # Planning.

    def uniform(self) -> NDArray[np.float64]:
        """The policy [H, S, A] to which a state's own actions are all equal."""
        return np.repeat((self.own / self.actions[:, None])[None], self.horizon, axis=0)

    def greedy(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """The policy that takes a best action of Q [H, S, A], any of those that are equal."""
        inside = np.where(self.own, values, -np.inf)
        best = inside >= inside.max(-1, keepdims=True) - TOLERANCE
        return best / best.sum(-1, keepdims=True)

    def value(self, policy: NDArray[np.floating]) -> float:
        """The expected return of a policy."""
        value = np.zeros(self.states)
        for probabilities in policy[::-1]:
            value = (probabilities * (self.rewards + self.transitions @ value)).sum(1)
        return float(value[self.start])

    def best(self) -> tuple[NDArray[np.float64], float]:
        """Q* as [H, S, A] and the best expected return, by backward induction."""
        found, value = np.zeros((self.horizon, *self.own.shape)), np.zeros(self.states)
        for h in reversed(range(self.horizon)):
            found[h] = self.rewards + self.transitions @ value
            value = found[h].max(1)
        return found, float(value[self.start])

    def occupancy(self, policy: NDArray[np.floating]) -> NDArray[np.float64]:
        """How probable state and action are at each step under a policy, [H, S, A]."""
        found, reached = np.zeros(policy.shape), np.eye(self.states)[self.start]
        for h, probabilities in enumerate(policy):
            found[h] = reached[:, None] * probabilities
            reached = np.einsum("xa,xay->y", found[h], self.transitions)
        return found

    def eigenvalue(self, policy: NDArray[np.floating]) -> float:
        """The smallest eigenvalue C of the mean of phi phi' over the steps of an episode."""
        weights = np.sqrt(self.occupancy(policy).mean(0)[self.own])
        seen = weights[:, None] * self.features
        return float(eigvalsh(seen.T @ seen, subset_by_index=[0, 0])[0])

    def simulate(
        self, policy: NDArray[np.floating], episodes: int, rng: np.random.Generator
    ) -> Episodes:
        """Episodes of a policy, all at once."""
        states = np.full((episodes, self.horizon + 1), self.start)
        actions = np.zeros((episodes, self.horizon), np.int64)
        for h, probabilities in enumerate(policy):
            for state in np.unique(states[:, h]):
                here = np.flatnonzero(states[:, h] == state)
                actions[here, h] = _draw(probabilities[state], rng.random(len(here)))
            chances = np.cumsum(self.transitions[states[:, h], actions[:, h]], axis=1)
            beyond = rng.random(episodes)[:, None] >= chances[:, :-1]
            states[:, h + 1] = beyond.sum(1)
        return Episodes(states, actions)

    # What is refused.

    def _refuse_shapes(
        self, blocks: list[NDArray[np.float64]], rewards: Sequence[NDArray[np.floating]]
    ) -> None:
        if not len(blocks) == len(rewards) == self.states:
            raise BadValue(
                f"psi has {self.states} states: there are features of {len(blocks)} and rewards "
                f"of {len(rewards)}. Give each state both"
            )
        if not 0 <= self.start < self.states:
            raise BadValue(f"start is {self.start}: there are the states 0 to {self.states - 1}")
        for state, (block, reward) in enumerate(zip(blocks, rewards, strict=True)):
            if block.ndim != 2 or block.shape[1] != self.dimension or not len(block):
                raise BadValue(
                    f"the features of state {state} have shape {block.shape}: they must be "
                    f"[actions, {self.dimension}], as psi has {self.dimension} rows"
                )
            if np.shape(reward) != (len(block),):
                raise BadValue(
                    f"the rewards of state {state} have shape {np.shape(reward)}; it has "
                    f"{len(block)} actions: give one for each"
                )
            if not (np.isfinite(block).all() and np.isfinite(reward).all()):
                raise BadValue(f"features or rewards of state {state} are not finite")
            if np.min(reward) < 0 or np.max(reward) > 1:
                raise BadValue(f"rewards of state {state} are not within 0 and 1: scale them")
        if not np.isfinite(self.psi).all():
            raise BadValue("psi is not finite everywhere")

    def _probabilities(self) -> NDArray[np.float64]:
        """P as [pairs, S]."""
        found = self.features @ self.psi
        wrong = (found < -TOLERANCE).any(1) | (np.abs(found.sum(1) - 1) > TOLERANCE)
        if wrong.any():
            pair = int(np.argmax(wrong))
            state = int(np.searchsorted(np.cumsum(self.actions), pair, "right"))
            action = pair - int(self.actions[:state].sum())
            raise BadValue(
                f"action {action} in state {state} leads on with {found[pair].round(6).tolist()}, "
                "which are no probabilities: phi psi must be at least 0 and sum to 1"
            )
        return np.clip(found, 0.0, 1.0)

    def _policy(self, of_states: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
        """The same probabilities at every step, from those of each state."""
        found = np.zeros(self.own.shape)
        if len(of_states) != self.states:
            raise BadValue(f"a policy of {len(of_states)} states; there are {self.states}")
        for state, chances in enumerate(of_states):
            fits = np.shape(chances) == (self.actions[state],) and np.min(chances) >= 0
            if not fits or abs(np.sum(chances) - 1) > TOLERANCE:
                raise BadValue(
                    f"the exploratory policy in state {state}: give {self.actions[state]} "
                    "probabilities that sum to 1"
                )
            found[state, : len(chances)] = chances
        return np.repeat(found[None], self.horizon, axis=0)


def _draw(probabilities: NDArray[np.floating], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Choices of these probabilities, one for each uniform number."""
    chances = np.cumsum(probabilities)
    # What rounding leaves beyond the last chance goes to the last choice that has one.
    last = int(np.flatnonzero(probabilities)[-1])
    return np.minimum(np.searchsorted(chances, uniform, "right"), last)
