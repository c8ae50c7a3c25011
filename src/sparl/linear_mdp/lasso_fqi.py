"""Lasso fitted-Q-iteration: explore, fit, commit (Hao et al., 2021, 2011.04018).

The paper: an exploratory policy plays N1 of N episodes, which are split into H folds. The weights
are fitted backward from the last step. With w_{H+1} = 0, the targets of step h are

    y = max over a' of clip(r(x', a') + phi(x', a')' w_{h+1}, 0, H),

except that nothing follows the last step. w_h is the Lasso's solution on fold h. The other episodes
follow the greedy policy.

The penalty is of order H sqrt(log(2 d H / delta) / N1). Let C be the exploratory policy's smallest
eigenvalue. With N1 of order (s^2 H^4 N^2 log(2 d H / delta) / C^2)^(1/3), regret is of order
s^(2/3) N^(2/3), which is nearly free of d. The paper has no experiments.

Our reading:

- Both orders get a constant, which is an option here. With the constant 1 they are of no use at an
  N that anyone reaches: on the hard instance with H = 6, the paper's N1 is above N up to N = 3e9,
  and the penalty selects nothing at N1 = 480.
- The defaults were measured on that instance (results/sparse_mdp/constants.csv). With 0.1 of the
  penalty and N1 = 60 the secret is found in 20 seeds of 20, for d = 68 and d = 1028, and 3 to 4
  features are selected where 3 matter. With 0.05 of it more features are selected, and with 0.2 the
  secret is seldom found. 0.002 of the paper's N1 is about 60 at N = 100.
- `penalty="cv"` chooses the penalty by cross-validation.
- Rewards that are not known are added to the targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl import validation
from sparl.errors import BadValue
from sparl.linear_mdp.transitions import FeatureMap, RewardMap, Table, Transitions, checked_features

CHOSEN = 1e-8
"""Weights smaller than this share of a step's largest weight do not count as selected."""

FOLDS = 5
"""Folds of cross-validation."""


@dataclass(frozen=True)
class LinearQ:
    """Q_h(x, a) = r(x, a) + phi(x, a)' w_h, and the policy that is greedy in it."""

    weights: NDArray[np.float64]
    """[H, d]."""
    features: FeatureMap
    rewards: RewardMap | None
    """None where the weights predict the rewards too."""

    def selected(self) -> list[list[tuple[int, float]]]:
        """The selected features of each step with their weights, the largest first."""
        of_steps = []
        for w in self.weights:
            chosen = np.flatnonzero(np.abs(w) > CHOSEN * max(np.abs(w).max(), CHOSEN))
            of_steps.append(
                sorted(((int(i), float(w[i])) for i in chosen), key=lambda f: -abs(f[1]))
            )
        return of_steps

    def values(self, observations: NDArray[Any], steps: NDArray[np.integer]) -> NDArray[np.float64]:
        """Q, [n, actions].

        Args:
            observations: [n, obs].
            steps: The step at which each is met, counted from 0, [n].
        """
        phi = checked_features(self.features, observations)
        step = np.minimum(steps, len(self.weights) - 1)
        known_rewards = 0.0 if self.rewards is None else self.rewards(observations)
        return np.einsum("nad,nd->na", phi, self.weights[step]) + known_rewards

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The best action, with the signature of Stable-Baselines3's agents.

        The best action depends on the step of the episode, so `state` is the next step. Beyond the
        horizon the policy acts as in the last step.

        Args:
            observation: [obs], or a batch [n, obs].
            state: What the last call returned; None at the beginning of an episode.
            episode_start: Where True, an episode begins, whatever `state` says.
            deterministic: Ignored; the policy is deterministic.

        Returns:
            The actions, counted from 0 (of equally good ones the first), and the next `state`.
        """
        batch = np.atleast_2d(np.asarray(observation))
        steps = np.zeros(len(batch), np.int64) if state is None else np.atleast_1d(state)
        if episode_start is not None:
            steps = np.where(np.atleast_1d(episode_start), 0, steps)
        actions = self.values(batch, steps).argmax(1)
        if np.ndim(observation) == 1:
            return int(actions[0]), int(steps[0]) + 1
        return actions, steps + 1


class Regression(NamedTuple):
    """What the weights of one step are fitted to."""

    x: NDArray[np.float64]
    """Features of the rows, [p, d]."""
    y: NDArray[np.float64]
    """Mean target of each row, [p]."""
    counts: NDArray[np.float64]
    """How many transitions each row stands for, [p]."""
    horizon: int
    """H."""
    episodes: int
    """N1."""
    value_range: float
    """Between the bounds of the return."""


@dataclass(frozen=True)
class FQI:
    """Fitted Q-iteration; a subclass says how the weights are fitted."""

    fold: bool = True
    """Whether each step learns from a fold of its own, as in the paper, or from all episodes."""
    seed: int = 0
    """Draws the folds."""

    @property
    def merges(self) -> bool:
        """Whether equal rows may be merged into one row with a count."""
        return True

    def fit(
        self,
        data: Transitions,
        features: FeatureMap,
        horizon: int,
        rewards: RewardMap | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> LinearQ:
        """Learns weights for each step from a data set.

        Args:
            data: The transitions.
            features: phi.
            horizon: H.
            rewards: The rewards, if they are known.
            bounds: Of the return that is still to come; [0, H] without, for rewards in [0, 1].

        Raises:
            BadValue: Features have a wrong shape or are not finite, there are fewer episodes than
                folds (collect more, or choose fold=False), or the lower bound is not below the
                upper one.
        """
        validation.at_least(1, horizon=horizon)
        table = Table(data, features, rewards)
        low, high = bounds or (0.0, float(horizon))
        if not low < high:
            raise BadValue(f"bounds is {bounds}: the lower one comes first")
        folds = [np.arange(data.count)] * horizon
        if self.fold:
            folds = data.folds(horizon, np.random.default_rng(self.seed))
        episodes = len(np.unique(data.episodes))
        weights = np.zeros((horizon, table.features.shape[2]))
        value = np.zeros(len(table.features))
        for h in reversed(range(horizon)):
            x, y, counts = table.regression(folds[h], table.targets(value), self.merges)
            if np.any(y):
                given = Regression(x, y, counts, horizon, episodes, high - low)
                weights[h] = self.regress(given)
            q = np.clip(table.rewards + table.features @ weights[h], low, high)
            value = q.max(1)
        return LinearQ(weights, features, rewards)

    def regress(self, given: Regression) -> NDArray[Any]:
        """The weights w, [d], of one step."""
        raise NotImplementedError


@dataclass(frozen=True)
class LassoFQI(FQI):
    """Fitted Q-iteration with scikit-learn's Lasso."""

    penalty: float | Literal["theory", "cv"] = "theory"
    """lambda, twice scikit-learn's alpha. `theory` is `penalty_scale` H sqrt(log(2 d H / delta) /
    N1). `cv` is scikit-learn's LassoCV with five folds."""
    penalty_scale: float = 0.1
    """The constant of `theory`; 1 in the paper."""
    delta: float = 0.1
    """The probability with which the paper's bound may fail."""

    def __post_init__(self) -> None:
        validation.positive(penalty_scale=self.penalty_scale, delta=self.delta)
        if isinstance(self.penalty, str):
            validation.one_of(("theory", "cv"), penalty=self.penalty)
        else:
            validation.at_least(0, penalty=self.penalty)

    @property
    def merges(self) -> bool:
        # Cross-validation leaves out single transitions, of which a merged row holds several.
        return self.penalty != "cv"

    def _lambda(self, given: Regression) -> float:
        """lambda for N1 episodes, where it is not cross-validated."""
        if isinstance(self.penalty, str):
            log = math.log(2 * given.x.shape[1] * given.horizon / self.delta)
            return self.penalty_scale * given.value_range * math.sqrt(log / given.episodes)
        return self.penalty

    def regress(self, given: Regression) -> NDArray[Any]:
        from sklearn.linear_model import Lasso, LassoCV
        from sklearn.model_selection import KFold

        x, y = given.x, given.y
        if self.penalty != "cv":
            model = Lasso(self._lambda(given) / 2, fit_intercept=False, max_iter=10_000, tol=1e-6)
            return model.fit(x, y, sample_weight=given.counts).coef_
        if len(y) < 2 * FOLDS:
            raise BadValue(
                f"{len(y)} transitions are too few for {FOLDS} folds of cross-validation: collect "
                "more, or choose a penalty"
            )
        # The first alpha is the smallest that selects nothing.
        alphas = np.abs(x.T @ y).max() / len(y) * np.logspace(0, -3, 30)
        folds = KFold(FOLDS, shuffle=True, random_state=self.seed)
        return LassoCV(alphas=alphas, fit_intercept=False, cv=folds).fit(x, y).coef_


def exploration(
    episodes: int,
    sparsity: int,
    horizon: int,
    dimension: int,
    eigenvalue: float,
    scale: float = 0.002,
    delta: float = 0.1,
) -> int:
    """N1, the number of episodes to explore.

    It is `scale` (s^2 H^4 N^2 log(2 d H / delta) / C^2)^(1/3), rounded up, and at least one episode
    for each fold: the paper's order with a constant of our own.

    Args:
        episodes: N, all episodes.
        sparsity: s, the number of features that matter.
        horizon: H.
        dimension: d.
        eigenvalue: C, the exploratory policy's smallest eigenvalue.
        scale: The constant; 1 in the paper.
        delta: The probability with which the paper's bound may fail.

    Raises:
        BadValue: N1 would be above N. Explore for fewer episodes, or play more.
    """
    validation.at_least(
        1, episodes=episodes, sparsity=sparsity, horizon=horizon, dimension=dimension
    )
    validation.positive(eigenvalue=eigenvalue, scale=scale, delta=delta)
    log = math.log(2 * dimension * horizon / delta)
    root = (sparsity**2 * horizon**4 * episodes**2 * log / eigenvalue**2) ** (1 / 3)
    explored = max(horizon, math.ceil(scale * root))
    check_exploration(explored, episodes)
    return explored


def check_exploration(explored: int, episodes: int) -> None:
    """Checks that N1, the explored episodes, is within 1 and N, all episodes.

    Raises:
        BadValue: It is not.
    """
    validation.at_least(1, explore=explored)
    if explored > episodes:
        raise BadValue(
            f"N1, the episodes of exploration, is {explored}, more than the N = {episodes} in all: "
            "explore for fewer (a smaller scale), or play more episodes"
        )
