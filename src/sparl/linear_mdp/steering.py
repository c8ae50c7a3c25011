"""A quick policy on a few inputs, to get where more can be seen: fitted Q-iteration in quadratics.

Q(x, a) = q(x)' w_a, where q has 1, the inputs and their products. It need not be good: an episode
has to last long enough to show what matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.linear_mdp.transitions import Transitions

GAMMA = 0.99
ITERATIONS = 150
RIDGE = 1e-3
"""Of the mean square of each feature."""
FAR = 5.0
"""Standard deviations; what lies beyond counts as there."""
PRODUCTS = 20
"""Most inputs whose products with each other are features; of more, only their squares."""


@dataclass(frozen=True)
class Steering:
    """The greedy policy; an action for an observation [obs]."""

    inputs: NDArray[np.integer]
    mean: NDArray[np.floating]
    deviation: NDArray[np.floating]
    weights: NDArray[np.float64]
    """[actions, features]."""

    @classmethod
    def fit(cls, data: Transitions, inputs: NDArray[np.integer], actions: int) -> Steering:
        """Learns from a data set, seeing only these inputs."""
        seen = data.observations[:, inputs]
        made = cls(inputs, seen.mean(0), np.maximum(seen.std(0), 1e-8), np.zeros((actions, 0)))
        x, after = made.features(data.observations), made.features(data.next_observations)
        rows = [np.flatnonzero(data.actions == action) for action in range(actions)]
        ridge = RIDGE * np.eye(x.shape[1])
        fits = [np.linalg.solve(x[of].T @ x[of] + max(len(of), 1) * ridge, x[of].T) for of in rows]
        # What is still to come lies between these, whatever the fit says far from the data.
        low = min(float(data.rewards.min()), 0.0) / (1 - GAMMA)
        high = max(float(data.rewards.max()), 0.0) / (1 - GAMMA)
        weights = np.zeros((actions, x.shape[1]))
        for _ in range(ITERATIONS):
            value = np.clip((after @ weights.T).max(1), low, high)
            y = data.rewards + GAMMA * ~data.terminated * value
            weights = np.stack([fit @ y[of] for fit, of in zip(fits, rows, strict=True)])
        return cls(inputs, made.mean, made.deviation, weights)

    def __call__(self, observation: NDArray[Any]) -> int:
        return int((self.weights @ self.features(observation[None])[0]).argmax())

    def features(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """Of observations [n, obs], [n, features]."""
        scaled = (observations[:, self.inputs] - self.mean) / self.deviation
        z = np.clip(scaled, -FAR, FAR).astype(np.float64)
        of = z.shape[1]
        i, j = np.triu_indices(of) if of <= PRODUCTS else (np.arange(of), np.arange(of))
        return np.concatenate([np.ones((len(z), 1)), z, z[:, i] * z[:, j]], axis=1)
