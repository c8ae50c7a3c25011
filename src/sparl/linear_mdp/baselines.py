"""What Lasso fitted-Q-iteration is compared with on a sparse linear MDP, and exact regret.

- `RidgeFQI`: explore, fit, commit, with ridge regression in place of the Lasso.
- `LSVI`: least-squares value iteration that never stops learning, epsilon-greedy, or with a bonus
  for what it has seen little of: LSVI-UCB (Jin et al., 2019, 1907.05388).

Uniform exploration in place of the exploratory policy is no learner of its own: `commit` is told
which policy explores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.linear_mdp.lasso_fqi import FQI, LinearQ, refuse_more
from sparl.linear_mdp.mdp import SparseLinearMDP
from sparl.linear_mdp.transitions import of_episodes


@dataclass(frozen=True)
class RidgeFQI(FQI):
    """Fitted Q-iteration with ridge regression."""

    ridge: float = 1.0
    """lambda of the sum of squares."""

    def __post_init__(self) -> None:
        validation.positive(ridge=self.ridge)

    def _regress(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        counts: NDArray[np.float64],
        horizon: int,
        episodes: int,
        most: float,
    ) -> NDArray[Any]:
        weighted = counts[:, None] * x
        if len(x) < x.shape[1]:  # of the two systems with the same answer the smaller one
            kernel = x @ x.T + np.diag(self.ridge / counts)
            return x.T @ np.linalg.solve(kernel, y)
        return np.linalg.solve(x.T @ weighted + self.ridge * np.eye(x.shape[1]), weighted.T @ y)


@dataclass(frozen=True)
class Committed:
    """Explore, fit, commit on a known MDP."""

    learned: LinearQ
    regret: float
    """Expected over all N episodes, given what was explored: no return is sampled."""
    found: bool
    """Whether the policy after the exploration has the best value."""


def commit(
    mdp: SparseLinearMDP,
    learner: FQI,
    episodes: int,
    explore: int,
    explorer: NDArray[np.floating],
    rng: np.random.Generator,
) -> Committed:
    """N1 = `explore` of N `episodes` by the policy `explorer` [H, S, A], the others by what
    `learner` made of them. Raises `BadValue` for N1 above N."""
    refuse_more(explore, episodes)
    data = of_episodes(mdp, mdp.simulate(explorer, explore, rng))
    learned = learner.fit(data, mdp.feature_map, mdp.horizon, mdp.reward_map)
    best, value = mdp.best()[1], mdp.value(greedy_in(mdp, learned))
    regret = explore * (best - mdp.value(explorer)) + (episodes - explore) * (best - value)
    return Committed(learned, regret, bool(best - value < 1e-6))


def greedy_in(mdp: SparseLinearMDP, learned: LinearQ) -> NDArray[np.float64]:
    """The greedy policy [H, S, A] of what was learned; of equal actions it takes any."""
    phi = mdp.features[mdp.pair]
    return mdp.greedy(mdp.rewards + np.einsum("xad,hd->hxa", phi, learned.weights))


@dataclass(frozen=True)
class LSVI:
    """Least-squares value iteration: before each episode weights are fitted to all transitions so
    far, backward, by ridge regression; then it plays that episode with the greedy policy.

    The MDP is the same at every step, and so all steps share their data. As rewards are known and
    states few, the weights of step h are U V_{h+1} with one U [d, S], the ridge answer for where
    pairs lead to; that of all pairs at once is kept up to date by rank-one steps.
    """

    epsilon: float = 1.0
    """Episode n takes a random action with the probability epsilon n^(-1/3) in each step."""
    bonus: float = 0.0
    """beta: a pair counts for beta sqrt(phi' A^-1 phi) more, A being the ridge matrix. LSVI-UCB has
    epsilon 0 and a beta of order d H, with which it is uniform at any N of ours."""
    ridge: float = 1.0
    """lambda."""

    def __post_init__(self) -> None:
        validation.fractions(epsilon=self.epsilon)
        validation.at_least(0, bonus=self.bonus)
        validation.positive(ridge=self.ridge)

    def regret(
        self, mdp: SparseLinearMDP, episodes: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """The regret up to each of `episodes` [N], of each episode's policy exactly."""
        validation.at_least(1, episodes=episodes)
        phi, uniform, best = mdp.features, mdp.uniform(), mdp.best()[1]
        columns, inverse = phi.T.copy(), np.eye(mdp.dimension) / self.ridge
        leads = np.zeros((len(phi), mdp.states))  # phi' U
        spread = (phi**2).sum(1) / self.ridge  # phi' A^-1 phi
        lost = np.zeros(episodes)
        for n in range(episodes):
            policy = mdp.greedy(self._values(mdp, leads, spread))
            chance = self.epsilon * (n + 1) ** (-1 / 3)
            policy = (1 - chance) * policy + chance * uniform
            lost[n] = best - mdp.value(policy)
            played = mdp.simulate(policy, 1, rng)
            states, actions = played.states[0], played.actions[0]
            pairs = mdp.pair[states[:-1], actions]
            for pair in np.unique(pairs):
                after = np.bincount(states[1:][pairs == pair], minlength=mdp.states)
                count = after.sum()
                # Most numbers are 0: features of few entries, directions that were never seen.
                entries = np.flatnonzero(phi[pair])
                z = phi[pair, entries] @ inverse[entries]
                seen = np.flatnonzero(z)
                along = z[seen] @ columns[seen]
                gain = 1 / (1 + count * along[pair])
                leads += np.outer(along * gain, after - count * leads[pair])
                if self.bonus:
                    spread -= count * gain * along**2
                inverse[np.ix_(seen, seen)] -= np.outer(count * gain * z[seen], z[seen])
        return np.cumsum(lost)

    def _values(
        self,
        mdp: SparseLinearMDP,
        leads: NDArray[np.float64],
        spread: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Q [H, S, A]."""
        found, value = np.zeros((mdp.horizon, *mdp.own.shape)), np.zeros(mdp.states)
        more = self.bonus * np.sqrt(np.maximum(spread, 0))
        for h in reversed(range(mdp.horizon)):
            q = mdp.rewards + (leads @ value + more)[mdp.pair]
            found[h] = np.clip(q, 0, mdp.horizon - h)
            value = found[h].max(1)
        return found
