"""The two on-policy agents once more, from the paper (1712.02467) and Sutton and Barto: see
`reference`. Gradients of the losses by hand."""

from __future__ import annotations

import copy

import numpy as np
from reference import Adam, Layers, Transitions, backward, forward


class Reference:
    """Actor and critic of primal-dual pi learning."""

    def __init__(
        self,
        networks: dict[str, Layers],
        learning_rate: float,
        value_learning_rate: float,
        entropy_bonus: float,
        c: float,
        share: float,
    ) -> None:
        self.online = copy.deepcopy(networks)  # actor, critic
        self.adams = {"actor": Adam(learning_rate), "critic": Adam(value_learning_rate)}
        self.entropy_bonus, self.c, self.share = entropy_bonus, c, share

    def update(self, batch: Transitions) -> None:
        critic, count = self.online["critic"], len(batch.reward)
        before = self.delta(batch)
        by_value, by_next = self.slopes(batch, before)
        here, there = forward(critic, batch.observation), forward(critic, batch.next_observation)
        gradients, _ = backward(critic, here, by_value[:, None] / count)
        others, _ = backward(critic, there, by_next[:, None] / count)
        summed = [
            [a + b for a, b in zip(*both, strict=True)]
            for both in zip(gradients, others, strict=True)
        ]
        self.adams["critic"].step(critic, summed)

        advantage = self.advantage(before, self.delta(batch))
        actor = self.online["actor"]
        passed = forward(actor, batch.observation)
        pi = np.exp(passed[-1] - passed[-1].max(1, keepdims=True))
        pi /= pi.sum(1, keepdims=True)
        chosen = np.eye(pi.shape[1])[batch.action[:, 0].astype(int)]
        entropy = -(pi * np.log(pi)).sum(1, keepdims=True)
        up = (chosen - pi) * advantage[:, None]
        up -= self.entropy_bonus * pi * (np.log(pi) + entropy)
        gradients, _ = backward(actor, passed, -up / count)
        self.adams["actor"].step(actor, gradients)

    def delta(self, batch: Transitions) -> np.ndarray:
        """r + gamma v(s') - v(s), masked where the episode ended by itself."""
        critic = self.online["critic"]
        value = forward(critic, batch.observation)[-1][:, 0]
        following = forward(critic, batch.next_observation)[-1][:, 0]
        return batch.reward + self.goes_on(batch) * following - value

    # Apart so that the tests can get them wrong on purpose, and for the other agent.

    def goes_on(self, batch: Transitions) -> np.ndarray:
        return batch.discount * (1 - batch.terminated)

    def slopes(self, batch: Transitions, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of (1 - gamma) v(s) + delta + c delta^2 by v(s) and, a share of it, by v(s')."""
        by_delta = 1 + 2 * self.c * delta
        return (1 - batch.discount) - by_delta, self.share * self.goes_on(batch) * by_delta

    def advantage(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return after


class OneStep(Reference):
    """The one-step TD actor-critic."""

    def slopes(self, batch: Transitions, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return -delta, np.zeros_like(delta)

    def advantage(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        return before
