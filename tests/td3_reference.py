"""TD3 once more, from its paper (1802.09477), in plain numpy and float64 with gradients by hand.

Nothing of sparl: no layouts, no flat vectors, no automatic differentiation, no optax. Batches are
[batch, features] here.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

Layers = list[list[np.ndarray]]  # [weight (out, in), bias (out,)] each, ReLU between them


def forward(layers: Layers, x: np.ndarray) -> list[np.ndarray]:
    """The input of every layer, and the output of the last."""
    passed = [x]
    for i, (weight, bias) in enumerate(layers):
        x = passed[-1] @ weight.T + bias
        passed.append(np.maximum(x, 0) if i < len(layers) - 1 else x)
    return passed


def backward(
    layers: Layers, passed: list[np.ndarray], by_output: np.ndarray
) -> tuple[Layers, np.ndarray]:
    """The gradients of all weights and biases, and that of the input."""
    gradients: Layers = []
    for i in reversed(range(len(layers))):
        gradients.insert(0, [by_output.T @ passed[i], by_output.sum(0)])
        by_output = by_output @ layers[i][0]
        if i > 0:
            by_output = by_output * (passed[i] > 0)
    return gradients, by_output


class Adam:
    """Kingma and Ba, 1412.6980, algorithm 1."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate, self.t = learning_rate, 0
        self.m: dict[tuple[int, int], np.ndarray] = {}
        self.v: dict[tuple[int, int], np.ndarray] = {}

    def step(self, layers: Layers, gradients: Layers) -> None:
        self.t += 1
        for i, layer in enumerate(gradients):
            for j, g in enumerate(layer):
                m = self.m[i, j] = 0.9 * self.m.get((i, j), 0.0) + 0.1 * g
                v = self.v[i, j] = 0.999 * self.v.get((i, j), 0.0) + 0.001 * g**2
                m_hat, v_hat = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
                layers[i][j] = layers[i][j] - self.learning_rate * m_hat / (np.sqrt(v_hat) + 1e-8)


@dataclass
class Transitions:
    """[batch, features] each; reward and terminated [batch]."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray


class Reference:
    """TD3's six networks; `update` is algorithm 1 of the paper."""

    def __init__(
        self,
        networks: dict[str, Layers],
        learning_rate: float,
        gamma: float,
        tau: float,
        policy_noise: float,
        noise_clip: float,
        policy_delay: int,
    ) -> None:
        self.online = copy.deepcopy(networks)  # actor, critic_0, critic_1
        self.target = copy.deepcopy(networks)
        self.adam = {name: Adam(learning_rate) for name in networks}
        self.gamma, self.tau, self.policy_delay = gamma, tau, policy_delay
        self.policy_noise, self.noise_clip = policy_noise, noise_clip
        self.updates = 0

    def update(self, batch: Transitions, noise: np.ndarray) -> None:
        """`noise`: standard normal, [batch, act]."""
        self.updates += 1
        y = self.target_values(batch, noise)
        for name in ("critic_0", "critic_1"):
            inputs = np.concatenate([batch.observation, batch.action], 1)
            passed = forward(self.online[name], inputs)
            by_q = 2 * (passed[-1] - y[:, None]) / len(y)  # of the mean squared error
            gradients, _ = backward(self.online[name], passed, by_q)
            self.adam[name].step(self.online[name], gradients)
        if self.updates % self.policy_delay == 0:
            self.improve_policy(batch)
        if self.targets_follow():
            for name, layers in self.target.items():
                for layer, online in zip(layers, self.online[name], strict=True):
                    for j in range(2):
                        layer[j] = (1 - self.tau) * layer[j] + self.tau * online[j]

    def target_values(self, batch: Transitions, noise: np.ndarray) -> np.ndarray:
        action = np.tanh(forward(self.target["actor"], batch.next_observation)[-1])
        action = np.clip(action + self.smoothing(noise), -1, 1)
        inputs = np.concatenate([batch.next_observation, action], 1)
        q = [forward(self.target[f"critic_{i}"], inputs)[-1][:, 0] for i in range(2)]
        return batch.reward + self.gamma * self.goes_on(batch) * self.pessimistic(*q)

    def improve_policy(self, batch: Transitions) -> None:
        passed = forward(self.online["actor"], batch.observation)
        action = np.tanh(passed[-1])
        inputs = np.concatenate([batch.observation, action], 1)
        critic = self.online["critic_0"]
        by_q = np.full((len(action), 1), -1 / len(action))  # of minus the mean value
        _, by_inputs = backward(critic, forward(critic, inputs), by_q)
        by_action = by_inputs[:, batch.observation.shape[1] :]
        gradients, _ = backward(self.online["actor"], passed, by_action * (1 - action**2))
        self.adam["actor"].step(self.online["actor"], gradients)

    # What makes TD3 out of DDPG, each apart so that the tests can get it wrong on purpose.

    def smoothing(self, noise: np.ndarray) -> np.ndarray:
        return np.clip(self.policy_noise * noise, -self.noise_clip, self.noise_clip)

    def pessimistic(self, q_0: np.ndarray, q_1: np.ndarray) -> np.ndarray:
        return np.minimum(q_0, q_1)

    def goes_on(self, batch: Transitions) -> np.ndarray:
        return 1 - batch.terminated

    def targets_follow(self) -> bool:
        return self.updates % self.policy_delay == 0
