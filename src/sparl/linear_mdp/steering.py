"""A quick policy on a few inputs, for exploration: fitted Q-iteration with quadratic features.

Q(x, a) = q(x)' w_a, where q has 1, the inputs and their products. The policy need not be good. It
is good enough if its episodes last long enough to show which inputs matter.
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
"""The ridge penalty, relative to the mean square of a feature."""
CLIP = 5.0
"""Inputs are clipped to so many standard deviations."""
MAX_WITH_PRODUCTS = 20
"""Up to so many inputs, all products of two are features; with more inputs, only squares are."""


@dataclass(frozen=True)
class Steering:
    """A greedy policy that sees only some inputs."""

    inputs: NDArray[np.integer]
    """The entries of the observation that it sees."""
    mean: NDArray[np.floating]
    """Of each of these inputs."""
    deviation: NDArray[np.floating]
    """Standard deviation of each of these inputs."""
    weights: NDArray[np.float64]
    """w, [actions, features]."""

    @classmethod
    def fit(cls, data: Transitions, inputs: NDArray[np.integer], actions: int) -> Steering:
        """Learns a policy from a data set.

        Args:
            data: The transitions.
            inputs: The entries of the observation that the policy sees.
            actions: How many actions there are.
        """
        x = data.observations[:, inputs]
        untrained = cls(inputs, x.mean(0), np.maximum(x.std(0), 1e-8), np.zeros((actions, 0)))
        features = untrained.features(data.observations)
        next_features = untrained.features(data.next_observations)
        rows_of_action = [np.flatnonzero(data.actions == action) for action in range(actions)]
        # Solving once for each action gives the matrix that turns any targets into weights.
        ridge = RIDGE * np.eye(features.shape[1])
        solutions = [
            np.linalg.solve(
                features[rows].T @ features[rows] + max(len(rows), 1) * ridge, features[rows].T
            )
            for rows in rows_of_action
        ]
        # No return lies outside these bounds, whatever the fit says far from the data.
        low = min(float(data.rewards.min()), 0.0) / (1 - GAMMA)
        high = max(float(data.rewards.max()), 0.0) / (1 - GAMMA)
        weights = np.zeros((actions, features.shape[1]))
        for _ in range(ITERATIONS):
            next_value = np.clip((next_features @ weights.T).max(1), low, high)
            targets = data.rewards + GAMMA * ~data.terminated * next_value
            weights = np.stack(
                [
                    solution @ targets[rows]
                    for solution, rows in zip(solutions, rows_of_action, strict=True)
                ]
            )
        return cls(inputs, untrained.mean, untrained.deviation, weights)

    def __call__(self, observation: NDArray[Any]) -> int:
        """The best action for an observation [obs]."""
        return int((self.weights @ self.features(observation[None])[0]).argmax())

    def features(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """q(x), [n, features], of observations, [n, obs]."""
        scaled = (observations[:, self.inputs] - self.mean) / self.deviation
        z = np.clip(scaled, -CLIP, CLIP).astype(np.float64)
        count = z.shape[1]
        i, j = np.triu_indices(count) if count <= MAX_WITH_PRODUCTS else (np.arange(count),) * 2
        return np.concatenate([np.ones((len(z), 1)), z, z[:, i] * z[:, j]], axis=1)
