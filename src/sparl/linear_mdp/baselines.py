"""Baselines for Lasso fitted-Q-iteration on a sparse linear MDP, and exact regret.

- `RidgeFQI`: explore, fit, commit, with ridge regression in place of the Lasso.
- `LSVI`: least-squares value iteration, which never stops learning. It explores by epsilon-greedy
  actions, or by a bonus for pairs that it has met rarely: LSVI-UCB (Jin et al., 2019, 1907.05388).

Uniform exploration is no learner of its own: `commit` takes the policy that explores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.linear_mdp.lasso_fqi import FQI, LinearQ, Regression, check_exploration
from sparl.linear_mdp.mdp import SparseLinearMDP
from sparl.linear_mdp.transitions import of_episodes


@dataclass(frozen=True)
class RidgeFQI(FQI):
    """Fitted Q-iteration with ridge regression."""

    ridge: float = 1.0
    """lambda, which multiplies the weights' sum of squares."""

    def __post_init__(self) -> None:
        validation.positive(ridge=self.ridge)

    def regress(self, given: Regression) -> NDArray[Any]:
        x, y, counts = given.x, given.y, given.counts
        weighted = counts[:, None] * x
        if len(x) < x.shape[1]:  # Two systems have the same solution; this one is smaller then.
            kernel = x @ x.T + np.diag(self.ridge / counts)
            return x.T @ np.linalg.solve(kernel, y)
        return np.linalg.solve(x.T @ weighted + self.ridge * np.eye(x.shape[1]), weighted.T @ y)


@dataclass(frozen=True)
class Committed:
    """The outcome of explore, fit, commit on a known MDP."""

    learned: LinearQ
    regret: float
    """The expected regret of all N episodes, given the explored episodes. No return is sampled."""
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
    """Explores, fits and commits: the last N - N1 episodes follow what the first N1 taught.

    Args:
        mdp: A known MDP, so that regret can be computed exactly.
        learner: Learns from the explored episodes.
        episodes: N.
        explore: N1.
        explorer: The policy of the first N1 episodes, [H, S, A].
        rng: Draws the explored episodes.

    Raises:
        BadValue: N1 is above N. Explore for fewer episodes.
    """
    check_exploration(explore, episodes)
    data = of_episodes(mdp, mdp.simulate(explorer, explore, rng))
    learned = learner.fit(data, mdp.feature_map, mdp.horizon, mdp.reward_map)
    best, value = mdp.best()[1], mdp.value(greedy_in(mdp, learned))
    regret = explore * (best - mdp.value(explorer)) + (episodes - explore) * (best - value)
    return Committed(learned, regret, bool(best - value < 1e-6))


def greedy_in(mdp: SparseLinearMDP, learned: LinearQ) -> NDArray[np.float64]:
    """The policy that is greedy in a learned Q, [H, S, A]; it draws among equally good actions."""
    phi = mdp.features[mdp.pair]
    return mdp.greedy(mdp.rewards + np.einsum("xad,hd->hxa", phi, learned.weights))


@dataclass(frozen=True)
class LSVI:
    """Least-squares value iteration.

    Before each episode it fits weights to all transitions so far, by ridge regression and backward
    from the last step. Then it plays the episode with the greedy policy.

    The MDP is the same at every step, so all steps share their data. Rewards are known and states
    are few, so the weights of step h are U V_{h+1} with a single U, [d, S]: the ridge solution for
    where pairs lead. `regret` keeps phi' U of all pairs up to date by rank-one steps.
    """

    epsilon: float = 1.0
    """In episode n each action is random with probability epsilon n^(-1/3)."""
    bonus: float = 0.0
    """beta: it adds beta sqrt(phi' A^-1 phi) to the value of a pair, where A is the ridge matrix.
    LSVI-UCB has epsilon 0 and a beta of order d H. With that it acts uniformly at any N that we
    reach."""
    ridge: float = 1.0
    """lambda, the ridge penalty."""

    def __post_init__(self) -> None:
        validation.fractions(epsilon=self.epsilon)
        validation.at_least(0, bonus=self.bonus)
        validation.positive(ridge=self.ridge)

    def regret(
        self, mdp: SparseLinearMDP, episodes: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """The regret after each episode, [N]; each episode's policy is evaluated exactly.

        Args:
            mdp: A known MDP.
            episodes: N.
            rng: Draws the episodes.
        """
        validation.at_least(1, episodes=episodes)
        phi, uniform, best = mdp.features, mdp.uniform(), mdp.best()[1]
        phi_columns, inverse = phi.T.copy(), np.eye(mdp.dimension) / self.ridge
        next_state_fit = np.zeros((len(phi), mdp.states))  # phi' U
        uncertainty = (phi**2).sum(1) / self.ridge  # phi' A^-1 phi
        losses = np.zeros(episodes)
        for n in range(episodes):
            policy = mdp.greedy(self._values(mdp, next_state_fit, uncertainty))
            epsilon = self.epsilon * (n + 1) ** (-1 / 3)
            policy = (1 - epsilon) * policy + epsilon * uniform
            losses[n] = best - mdp.value(policy)
            played = mdp.simulate(policy, 1, rng)
            states, actions = played.states[0], played.actions[0]
            pairs = mdp.pair[states[:-1], actions]
            for pair in np.unique(pairs):
                next_counts = np.bincount(states[1:][pairs == pair], minlength=mdp.states)
                count = next_counts.sum()
                # Most numbers are 0, so only the others are computed with: features have few
                # entries, and many directions have never been met.
                entries = np.flatnonzero(phi[pair])
                z = phi[pair, entries] @ inverse[entries]  # phi' A^-1 of the pair
                nonzero = np.flatnonzero(z)
                overlap = z[nonzero] @ phi_columns[nonzero]  # phi' A^-1 of the pair, with all phi
                gain = 1 / (1 + count * overlap[pair])
                error = next_counts - count * next_state_fit[pair]
                next_state_fit += np.outer(overlap * gain, error)
                if self.bonus:
                    uncertainty -= count * gain * overlap**2
                inverse[np.ix_(nonzero, nonzero)] -= np.outer(count * gain * z[nonzero], z[nonzero])
        return np.cumsum(losses)

    def _values(
        self,
        mdp: SparseLinearMDP,
        next_state_fit: NDArray[np.float64],
        uncertainty: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Q, [H, S, A], from phi' U and phi' A^-1 phi of all pairs."""
        q, value = np.zeros((mdp.horizon, *mdp.available.shape)), np.zeros(mdp.states)
        bonus = self.bonus * np.sqrt(np.maximum(uncertainty, 0))
        for h in reversed(range(mdp.horizon)):
            unclipped = mdp.rewards + (next_state_fit @ value + bonus)[mdp.pair]
            q[h] = np.clip(unclipped, 0, mdp.horizon - h)
            value = q[h].max(1)
        return q
