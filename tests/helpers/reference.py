"""What the agents' references are made of: plain numpy and float64, with gradients by hand.

Nothing of sparl: no layouts, no flat vectors, no automatic differentiation, no optax. Batches are
[batch, features] here.
"""

from __future__ import annotations

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
    """Kingma and Ba, 1412.6980, algorithm 1; with `decay` AdamW, 1711.05101, algorithm 2."""

    def __init__(
        self, learning_rate: float, decay: float = 0.0, beta1: float = 0.9, epsilon: float = 1e-8
    ) -> None:
        self.learning_rate, self.decay, self.beta1, self.t = learning_rate, decay, beta1, 0
        self.epsilon = epsilon
        self.m: dict[tuple[int, int], np.ndarray] = {}
        self.v: dict[tuple[int, int], np.ndarray] = {}

    def step(self, layers: Layers, gradients: Layers) -> None:
        self.t += 1
        for i, layer in enumerate(gradients):
            for j, g in enumerate(layer):
                m = self.beta1 * self.m.get((i, j), 0.0) + (1 - self.beta1) * g
                self.m[i, j] = m
                v = self.v[i, j] = 0.999 * self.v.get((i, j), 0.0) + 0.001 * g**2
                m_hat, v_hat = m / (1 - self.beta1**self.t), v / (1 - 0.999**self.t)
                step = m_hat / (np.sqrt(v_hat) + self.epsilon) + self.decay * layers[i][j]
                layers[i][j] = layers[i][j] - self.learning_rate * step


@dataclass
class Transitions:
    """[batch, features] each; reward, terminated and discount [batch]."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray
    discount: np.ndarray


def follow(target: dict[str, Layers], online: dict[str, Layers], tau: float) -> None:
    """Polyak averaging: every network of `target` takes the share `tau` of its online one."""
    for name, layers in target.items():
        for layer, other in zip(layers, online[name], strict=True):
            for j in range(2):
                layer[j] = (1 - tau) * layer[j] + tau * other[j]


def named(online: dict[str, Layers], target: dict[str, Layers]) -> dict[str, Layers]:
    """A copy of all of them, targets as `target_NAME`."""
    targets = {f"target_{name}": layers for name, layers in target.items()}
    return {name: [list(la) for la in layers] for name, layers in (online | targets).items()}
