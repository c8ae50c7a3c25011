"""PPO once more, from the paper (1707.06347): see `reference`. Gradients of the losses by hand."""

from __future__ import annotations

import copy

import numpy as np
from reference import Adam, Layers, Transitions, backward, forward

Old = dict[str, np.ndarray]
"""Of the rollout, [batch] each: log_prob, value, advantage."""


class Reference:
    """Actor, critic, and for continuous actions `log_std`, which is one layer of one array."""

    epsilon = 1e-5

    def __init__(self, parts: dict[str, Layers], config: dict[str, float]) -> None:
        self.parts, self.config = copy.deepcopy(parts), config
        rate = config["learning_rate"]
        self.adams = {name: Adam(rate, epsilon=self.epsilon) for name in parts}

    def update(self, batch: Transitions, old: Old) -> None:
        gradients = {
            "critic": self.of_critic(batch, old),
            **self.of_policy(batch, old | {"advantage": self.normalized(old["advantage"])}),
        }
        for name, gradient in gradients.items():
            self.adams[name].step(self.parts[name], self.clipped(gradient))

    def of_critic(self, batch: Transitions, old: Old) -> Layers:
        """Of 0.5 max((v - target)^2, (v_clipped - target)^2)."""
        critic, most = self.parts["critic"], self.config["clip_range_value"]
        passed = forward(critic, batch.observation)
        value, target = passed[-1][:, 0], old["value"] + old["advantage"]
        clipped = old["value"] + np.clip(value - old["value"], -most, most)
        holds = (clipped - target) ** 2 > (value - target) ** 2
        holds &= np.abs(value - old["value"]) > most  # then the clipped one has no slope
        slope = np.where(holds, 0.0, value - target)
        return backward(critic, passed, slope[:, None] / len(slope))[0]

    def of_policy(self, batch: Transitions, old: Old) -> dict[str, Layers]:
        actor, bonus = self.parts["actor"], self.config["entropy_bonus"]
        passed = forward(actor, batch.observation)
        outputs = passed[-1]
        count = len(outputs)
        if "log_std" in self.parts:
            ((log_std,),) = self.parts["log_std"]
            z = (batch.action - outputs) / np.exp(log_std)
            log_prob = (-0.5 * z**2 - log_std - 0.5 * np.log(2 * np.pi)).sum(1)
            up = self.by_log_prob(log_prob, old)[:, None]
            by_outputs = up * z / np.exp(log_std)
            by_log_std = (up * (z**2 - 1)).mean(0) + bonus
            more = {"log_std": [[-by_log_std]]}
        else:
            pi = np.exp(outputs - outputs.max(1, keepdims=True))
            pi /= pi.sum(1, keepdims=True)
            chosen = np.eye(pi.shape[1])[batch.action[:, 0].astype(int)]
            entropy = -(pi * np.log(pi)).sum(1, keepdims=True)
            up = self.by_log_prob(np.log((pi * chosen).sum(1)), old)[:, None]
            by_outputs = up * (chosen - pi) - bonus * pi * (np.log(pi) + entropy)
            more = {}
        return {"actor": backward(actor, passed, -by_outputs / count)[0], **more}

    # Apart so that the tests can get them wrong on purpose.

    def by_log_prob(self, log_prob: np.ndarray, old: Old) -> np.ndarray:
        """The slope of min(r A, clip(r) A) by the logarithm of the new probability."""
        ratio, most = np.exp(log_prob - old["log_prob"]), self.config["clip_range"]
        gain = ratio * old["advantage"]
        return np.where(gain <= np.clip(ratio, 1 - most, 1 + most) * old["advantage"], gain, 0.0)

    def normalized(self, advantage: np.ndarray) -> np.ndarray:
        return (advantage - advantage.mean()) / (advantage.std(ddof=1) + 1e-8)

    def clipped(self, gradient: Layers) -> Layers:
        length = np.sqrt(sum((g**2).sum() for layer in gradient for g in layer))
        factor = min(1.0, self.config["max_grad_norm"] / (length + 1e-6))
        return [[factor * g for g in layer] for layer in gradient]
