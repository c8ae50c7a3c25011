"""Lasso fitted-Q-iteration: explore, fit, commit (Hao et al., 2021, 2011.04018).

The paper: with an exploratory policy at hand, explore for N1 of N episodes, split them into H
folds, and go backward from the last step. With w_{H+1} = 0, the targets are

    y = max over a' of clip(r(x', a') + phi(x', a')' w_{h+1}, 0, H),

nothing being to come after the last step, and w_h is the Lasso's answer on fold h; then act
greedily. Its penalty is of order H sqrt(log(2 d H / delta) / N1), and with N1 of order
(s^2 H^4 N^2 log(2 d H / delta) / C^2)^(1/3), C being the exploratory policy's smallest eigenvalue,
regret is of order s^(2/3) N^(2/3), nearly free of d. It has no experiments.

Our reading: both orders have a constant, an option here, since with 1 they are of no use at an N
that anyone reaches. On the hard instance with H = 6 the N1 of the paper's form is above N up to
N = 3e9, and the penalty selects nothing at N1 = 480. The defaults were measured there
(results/sparse_mdp/constants.csv): with 0.1 of the penalty the secret is found in 20 seeds of 20 at
N1 = 60, for d = 68 and 1028, and 3 to 4 features are selected where 3 matter; a twentieth lets
more in, and with a fifth it is seldom found. 0.002 of N1 is about that many at N = 100. Besides,
`penalty="cv"` chooses by cross-validation, and where rewards are not known they are part of what is
regressed on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.errors import BadValue
from sparl.linear_mdp.transitions import FeatureMap, RewardMap, Table, Transitions, checked

CHOSEN = 1e-8
"""Weights of less than this share of a step's largest are not selected."""

FOLDS = 5
"""Of cross-validation."""


@dataclass(frozen=True)
class LinearQ:
    """Q_h(x, a) = r(x, a) + phi(x, a)' w_h, and the policy that is greedy in it."""

    weights: NDArray[np.float64]
    """[H, d]."""
    features: FeatureMap
    rewards: RewardMap | None
    """None where the weights tell rewards, too."""

    def selected(self) -> list[list[tuple[int, float]]]:
        """For each step the features that were selected, with their weights, largest first."""
        found = []
        for w in self.weights:
            kept = np.flatnonzero(np.abs(w) > CHOSEN * max(np.abs(w).max(), CHOSEN))
            found.append(sorted(((int(i), float(w[i])) for i in kept), key=lambda f: -abs(f[1])))
        return found

    def values(self, observations: NDArray[Any], steps: NDArray[np.integer]) -> NDArray[np.float64]:
        """Q of observations [n, obs] at steps [n], from 0, as [n, actions]."""
        phi = checked(self.features, observations)
        at = np.minimum(steps, len(self.weights) - 1)
        known = 0.0 if self.rewards is None else self.rewards(observations)
        return np.einsum("nad,nd->na", phi, self.weights[at]) + known

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The best action for one observation [obs], or for each of a batch [n, obs], counted from
        0; of equal ones the first.

        What is best depends on the step, so `state` is that: give back what came with the last
        action, and None, or True in `episode_start`, at an episode's beginning. Beyond the horizon
        it acts as in the last step. `deterministic` is there for callers of Stable-Baselines3's
        agents.
        """
        batch = np.atleast_2d(np.asarray(observation))
        steps = np.zeros(len(batch), np.int64) if state is None else np.atleast_1d(state)
        if episode_start is not None:
            steps = np.where(np.atleast_1d(episode_start), 0, steps)
        actions = self.values(batch, steps).argmax(1)
        if np.ndim(observation) == 1:
            return int(actions[0]), int(steps[0]) + 1
        return actions, steps + 1


@dataclass(frozen=True)
class FQI:
    """Fitted Q-iteration, but for how weights are fitted."""

    fold: bool = True
    """Learn each step from a fold of its own, as the paper does; else each from all episodes."""
    seed: int = 0
    """Of the folds."""

    @property
    def merges(self) -> bool:
        """Whether equal rows may be merged into one with a weight."""
        return True

    def fit(
        self,
        data: Transitions,
        features: FeatureMap,
        horizon: int,
        rewards: RewardMap | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> LinearQ:
        """Learns from a data set: weights for each of `horizon` steps.

        - `rewards`: where they are known.
        - `bounds`: of what is still to come; [0, H] if not given, for rewards in [0, 1].

        Raises `BadValue` for features of a wrong shape or not finite, and for fewer episodes than
        folds.
        """
        validation.at_least(1, horizon=horizon)
        table = Table(data, features, rewards)
        low, high = bounds or (0.0, float(horizon))
        everything = np.arange(data.count)
        folds = [everything] * horizon
        if self.fold:
            folds = data.folds(horizon, np.random.default_rng(self.seed))
        episodes = len(np.unique(data.episodes))
        weights = np.zeros((horizon, table.features.shape[2]))
        value = np.zeros(len(table.features))
        for h in reversed(range(horizon)):
            x, y, counts = table.regression(folds[h], table.targets(value), self.merges)
            if np.any(y):
                weights[h] = self._regress(x, y, counts, horizon, episodes, high - low)
            q = np.clip(table.rewards + table.features @ weights[h], low, high)
            value = q.max(1)
        return LinearQ(weights, features, rewards)

    def _regress(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        counts: NDArray[np.float64],
        horizon: int,
        episodes: int,
        most: float,
    ) -> NDArray[Any]:
        """w [d] for rows x [p, d] with the mean targets y [p], each met `counts` [p] times."""
        raise NotImplementedError


@dataclass(frozen=True)
class LassoFQI(FQI):
    """Fitted Q-iteration with scikit-learn's Lasso."""

    penalty: float | Literal["theory", "cv"] = "theory"
    """lambda; scikit-learn's alpha is half of it. theory: `penalty_scale` H sqrt(log(2 d H / delta)
    / N1). cv: scikit-learn's LassoCV, five folds."""
    penalty_scale: float = 0.1
    """The paper's form has 1."""
    delta: float = 0.1
    """The probability with which the theory may fail."""

    def __post_init__(self) -> None:
        validation.positive(penalty_scale=self.penalty_scale, delta=self.delta)
        if self.penalty not in ("theory", "cv"):
            validation.at_least(0, penalty=self.penalty)  # pyright: ignore[reportArgumentType]

    @property
    def merges(self) -> bool:
        return self.penalty != "cv"  # which leaves out rows, and not all of one kind

    def chosen_penalty(self, dimension: int, horizon: int, episodes: int, most: float) -> float:
        """lambda for N1 episodes, where it is not cross-validated; `most` is H, or the range that
        values are within."""
        if isinstance(self.penalty, str):
            log = math.log(2 * dimension * horizon / self.delta)
            return self.penalty_scale * most * math.sqrt(log / episodes)
        return self.penalty

    def _regress(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        counts: NDArray[np.float64],
        horizon: int,
        episodes: int,
        most: float,
    ) -> NDArray[Any]:
        from sklearn.linear_model import Lasso, LassoCV
        from sklearn.model_selection import KFold

        if self.penalty != "cv":
            penalty = self.chosen_penalty(x.shape[1], horizon, episodes, most)
            model = Lasso(penalty / 2, fit_intercept=False, max_iter=10_000, tol=1e-6)
            return model.fit(x, y, sample_weight=counts).coef_
        if len(y) < 2 * FOLDS:
            raise BadValue(
                f"{len(y)} transitions are too few for {FOLDS} folds of cross-validation: collect "
                "more, or choose a penalty"
            )
        # Above the first of them nothing is selected.
        alphas = np.abs(x.T @ y).max() / len(y) * np.logspace(0, -3, 30)
        parts = KFold(FOLDS, shuffle=True, random_state=self.seed)
        return LassoCV(alphas=alphas, fit_intercept=False, cv=parts).fit(x, y).coef_


def exploration(
    episodes: int,
    sparsity: int,
    horizon: int,
    dimension: int,
    eigenvalue: float,
    scale: float = 0.002,
    delta: float = 0.1,
) -> int:
    """N1 of N `episodes`: `scale` (s^2 H^4 N^2 log(2 d H / delta) / C^2)^(1/3), the paper's form
    with a constant of our own; rounded up, and to no fewer than one to a fold.

    Raises `BadValue` where that is more than N: explore for fewer, or play more episodes.
    """
    validation.at_least(
        1, episodes=episodes, sparsity=sparsity, horizon=horizon, dimension=dimension
    )
    validation.positive(eigenvalue=eigenvalue, scale=scale, delta=delta)
    log = math.log(2 * dimension * horizon / delta)
    root = (sparsity**2 * horizon**4 * episodes**2 * log / eigenvalue**2) ** (1 / 3)
    found = max(horizon, math.ceil(scale * root))
    refuse_more(found, episodes)
    return found


def refuse_more(explored: int, episodes: int) -> None:
    """Raises `BadValue` for N1 above N."""
    validation.at_least(1, explore=explored)
    if explored > episodes:
        raise BadValue(
            f"N1, the episodes of exploration, is {explored}, more than the N = {episodes} in all: "
            "explore for fewer (a smaller scale), or play more episodes"
        )
