"""Sparse linear MDPs (Hao et al., 2021, 2011.04018) as gymnasium environments, and exact planning.

P(x'|x, a) = sum over k in K of phi_k(x, a) psi_k(x'): of d features, only the s features in K
decide which state comes next. States and actions are finite here, so values are exact sums and not
estimates. The number of actions may depend on the state.
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
"""Numbers below it count as 0, and sums of probabilities may be off by it."""


@dataclass(frozen=True)
class Episodes:
    """Several episodes of a sparse linear MDP."""

    states: NDArray[np.int64]
    """[episode, H + 1]."""
    actions: NDArray[np.int64]
    """[episode, H]."""


class SparseLinearMDP(gym.Env):
    """A finite sparse linear MDP with a fixed horizon and known rewards.

    As an environment:

    - The observation is the state, one-hot [S]. It does not contain the step, which
      `gymnasium.wrappers.TimeAwareObservation` can add.
    - The number of actions A is that of the state with the most actions. A state with n < A actions
      takes action a as its action a mod n, so that uniform actions stay uniform.
    - After H steps an episode is truncated. No state is terminal.

    A policy is an array [H, S, A] of probabilities; it is 0 for actions that a state does not have.

    Attributes:
        actions: The number of actions of each state, [S].
        features: phi of every pair of a state and one of its actions, in order, [pairs, d].
        pair: The row of `features` for each state and action, [S, A].
        available: Whether the state has the action, [S, A].
        transitions: P(x'|x, a), [S, A, S].
        rewards: [S, A].
        support: K, the numbers of the features that matter.
        exploratory: The exploratory policy, [H, S, A], or None.
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
        """A sparse linear MDP from its features.

        Args:
            features: phi of each state, [its actions, d].
            psi: [d, S]. The features that matter are those whose row is not 0.
            rewards: The rewards of each state, [its actions], in [0, 1].
            horizon: H.
            start: The state in which episodes begin.
            exploratory: The probabilities in each state, [its actions], of a policy that meets all
                directions of the features: its smallest eigenvalue is positive.

        Raises:
            BadValue: Shapes do not fit, a number is not finite, P is not a probability, fewer
                features than K give the same P, or the policy does not meet all directions.
        """
        validation.at_least(1, horizon=horizon)
        self.horizon, self.start = horizon, start
        self.psi = np.asarray(psi, float)
        if self.psi.ndim != 2:
            raise BadValue(f"psi has shape {self.psi.shape}: it must be [features, states]")
        self.dimension, self.states = self.psi.shape
        blocks = [np.atleast_2d(np.asarray(block, float)) for block in features]
        self._check_inputs(blocks, rewards)
        self.actions = np.array([len(block) for block in blocks])
        self.features = np.concatenate(blocks)
        first_pair, most_actions = np.cumsum(self.actions) - self.actions, int(self.actions.max())
        self.pair = first_pair[:, None] + np.arange(most_actions) % self.actions[:, None]
        self.available = np.arange(most_actions) < self.actions[:, None]
        self.transitions = self._transition_probabilities()[self.pair]
        self.rewards = np.concatenate([np.asarray(r, float) for r in rewards])[self.pair]
        self.support = np.flatnonzero(np.abs(self.psi).max(1) > TOLERANCE)
        rank = int(np.linalg.matrix_rank(self.features[:, self.support]))
        if rank < len(self.support):
            raise BadValue(
                f"the {len(self.support)} features whose rows of psi are not 0 have rank {rank} "
                f"over all states and actions: {rank} of them would do. Leave the others out of psi"
            )
        self.exploratory = None if exploratory is None else self._constant_policy(exploratory)
        if self.exploratory is not None and (c := self.eigenvalue(self.exploratory)) <= TOLERANCE:
            raise BadValue(
                f"the exploratory policy's smallest eigenvalue is {c:.1e}: there is a direction of "
                "the features that it never meets. Give it other actions, or leave it out"
            )
        self.observation_space = spaces.Box(0.0, 1.0, (self.states,), np.float32)
        self.action_space = spaces.Discrete(most_actions)
        self._state, self._step = start, 0

    # As an environment.

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        """Begins an episode in the start state."""
        super().reset(seed=seed)
        self._state, self._step = self.start, 0
        return self.observe(self._state), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """Takes an action.

        Raises:
            BadValue: No state has the action.
        """
        state, action = self._state, int(action)
        if not 0 <= action < self.available.shape[1]:
            raise BadValue(
                f"action {action}: there are the actions 0 to {self.available.shape[1] - 1}"
            )
        cumulative = np.cumsum(self.transitions[state, action])
        self._state = min(
            int(np.searchsorted(cumulative, self.np_random.random(), "right")), len(cumulative) - 1
        )
        self._step += 1
        truncated = self._step == self.horizon
        return self.observe(self._state), float(self.rewards[state, action]), False, truncated, {}

    def observe(self, state: Any) -> NDArray[np.float32]:
        """The observations, [..., S], of states, [...]."""
        return np.eye(self.states, dtype=np.float32)[state]

    def feature_map(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """phi(x, a), [n, A, d], of observations, [n, S]; `FQI.fit` takes it."""
        return self.features[self.pair[np.argmax(observations, axis=-1)]]

    def reward_map(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """The known rewards, [n, A], of observations, [n, S]."""
        return self.rewards[np.argmax(observations, axis=-1)]

    # Planning.

    def uniform(self) -> NDArray[np.float64]:
        """The policy that draws each action of a state with the same probability, [H, S, A]."""
        return np.repeat((self.available / self.actions[:, None])[None], self.horizon, axis=0)

    def greedy(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """The policy that takes a best action, [H, S, A]; it draws among equally good ones.

        Args:
            values: Q, [H, S, A].
        """
        values_of_available = np.where(self.available, values, -np.inf)
        best = values_of_available >= values_of_available.max(-1, keepdims=True) - TOLERANCE
        return best / best.sum(-1, keepdims=True)

    def value(self, policy: NDArray[np.floating]) -> float:
        """The expected return of a policy [H, S, A]."""
        value = np.zeros(self.states)
        for probabilities in policy[::-1]:
            value = (probabilities * (self.rewards + self.transitions @ value)).sum(1)
        return float(value[self.start])

    def best(self) -> tuple[NDArray[np.float64], float]:
        """Q*, [H, S, A], and the best expected return, by backward induction."""
        q, value = np.zeros((self.horizon, *self.available.shape)), np.zeros(self.states)
        for h in reversed(range(self.horizon)):
            q[h] = self.rewards + self.transitions @ value
            value = q[h].max(1)
        return q, float(value[self.start])

    def occupancy(self, policy: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability of each state and action at each step under a policy, [H, S, A]."""
        occupancy, state_probabilities = np.zeros(policy.shape), np.eye(self.states)[self.start]
        for h, probabilities in enumerate(policy):
            occupancy[h] = state_probabilities[:, None] * probabilities
            state_probabilities = np.einsum("xa,xay->y", occupancy[h], self.transitions)
        return occupancy

    def eigenvalue(self, policy: NDArray[np.floating]) -> float:
        """C: the smallest eigenvalue of the mean of phi phi' over the steps of an episode."""
        weights = np.sqrt(self.occupancy(policy).mean(0)[self.available])
        weighted = weights[:, None] * self.features
        return float(eigvalsh(weighted.T @ weighted, subset_by_index=[0, 0])[0])

    def simulate(
        self, policy: NDArray[np.floating], episodes: int, rng: np.random.Generator
    ) -> Episodes:
        """Episodes of a policy [H, S, A], simulated all at once."""
        states = np.full((episodes, self.horizon + 1), self.start)
        actions = np.zeros((episodes, self.horizon), np.int64)
        for h, probabilities in enumerate(policy):
            for state in np.unique(states[:, h]):
                in_state = np.flatnonzero(states[:, h] == state)
                actions[in_state, h] = _draw(probabilities[state], rng.random(len(in_state)))
            cumulative = np.cumsum(self.transitions[states[:, h], actions[:, h]], axis=1)
            states[:, h + 1] = (rng.random(episodes)[:, None] >= cumulative[:, :-1]).sum(1)
        return Episodes(states, actions)

    # Checks.

    def _check_inputs(
        self, blocks: list[NDArray[np.float64]], rewards: Sequence[NDArray[np.floating]]
    ) -> None:
        """Raises `BadValue` for features, psi or rewards that no MDP can have."""
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

    def _transition_probabilities(self) -> NDArray[np.float64]:
        """P, [pairs, S], checked."""
        products = self.features @ self.psi
        wrong = (products < -TOLERANCE).any(1) | (np.abs(products.sum(1) - 1) > TOLERANCE)
        if wrong.any():
            pair = int(np.argmax(wrong))
            state = int(np.searchsorted(np.cumsum(self.actions), pair, "right"))
            action = pair - int(self.actions[:state].sum())
            raise BadValue(
                f"action {action} in state {state} leads to the states with "
                f"{products[pair].round(6).tolist()}, which are no probabilities: phi psi must be "
                "at least 0 and sum to 1"
            )
        return np.clip(products, 0.0, 1.0)

    def _constant_policy(
        self, state_probabilities: Sequence[NDArray[np.floating]]
    ) -> NDArray[np.float64]:
        """A policy [H, S, A] that is the same at every step."""
        policy = np.zeros(self.available.shape)
        if len(state_probabilities) != self.states:
            raise BadValue(
                f"the exploratory policy has probabilities for {len(state_probabilities)} states: "
                f"give them for all {self.states}"
            )
        for state, probabilities in enumerate(state_probabilities):
            fits = np.shape(probabilities) == (self.actions[state],) and np.min(probabilities) >= 0
            if not fits or abs(np.sum(probabilities) - 1) > TOLERANCE:
                raise BadValue(
                    f"the exploratory policy in state {state}: give {self.actions[state]} "
                    "probabilities that sum to 1"
                )
            policy[state, : len(probabilities)] = probabilities
        return np.repeat(policy[None], self.horizon, axis=0)


def _draw(probabilities: NDArray[np.floating], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draws a number with these probabilities for each uniform number in [0, 1)."""
    cumulative = np.cumsum(probabilities)
    # Rounding may leave the sum below 1: what lies beyond it goes to the last possible choice.
    last = int(np.flatnonzero(probabilities)[-1])
    return np.minimum(np.searchsorted(cumulative, uniform, "right"), last)
