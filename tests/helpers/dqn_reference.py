"""DQN once more, from its papers (Nature 518, 2015; 1509.06461): see `reference`."""

from __future__ import annotations

import copy

import numpy as np
from reference import Adam, Layers, Transitions, backward, follow, forward


class Reference:
    """The value network and its target."""

    def __init__(
        self,
        networks: dict[str, Layers],
        learning_rate: float,
        tau: float,
        interval: int,
        double: bool,
        weight_decay: float = 0.0,
        decoupled: float = 0.0,
    ) -> None:
        self.online, self.target = copy.deepcopy(networks), copy.deepcopy(networks)  # q
        self.adam = Adam(learning_rate, decoupled)
        self.tau, self.interval, self.double = tau, interval, double
        self.weight_decay = weight_decay
        self.updates = 0

    def update(self, batch: Transitions) -> None:
        self.updates += 1
        each, choice = np.arange(len(batch.reward)), batch.action[:, 0].astype(int)
        values = forward(self.target["q"], batch.next_observation)[-1]
        best = self.chooser(batch, values).argmax(1)
        y = batch.reward + batch.discount * (1 - batch.terminated) * values[each, best]
        passed = forward(self.online["q"], batch.observation)
        by_q = np.zeros_like(passed[-1])
        by_q[each, choice] = self.clipped(passed[-1][each, choice] - y) / len(y)
        gradients, _ = backward(self.online["q"], passed, by_q)
        decayed = [
            [g + self.weight_decay * w for g, w in zip(*both, strict=True)]
            for both in zip(gradients, self.online["q"], strict=True)
        ]
        self.adam.step(self.online["q"], decayed)
        if self.updates % self.interval == 0:
            follow(self.target, self.online, self.tau)

    # Apart so that the tests can get them wrong on purpose.

    def chooser(self, batch: Transitions, target_values: np.ndarray) -> np.ndarray:
        if not self.double:
            return target_values
        return forward(self.online["q"], batch.next_observation)[-1]

    def clipped(self, error: np.ndarray) -> np.ndarray:
        return np.clip(error, -1, 1)
