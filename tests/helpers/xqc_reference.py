"""XQC once more, from its paper (2509.25174): see `reference`.

A network is its input's norm [gain, shift, mean, variance], hidden layers [weight, gain, shift,
mean, variance], tanh behind each, and the head [weight, bias]. There are no biases in front of
norms.
"""

from __future__ import annotations

import copy

import numpy as np
from crossq_reference import EPSILON, MEMORY, Sample
from reference import Adam, Layers, Transitions

HIGHEST = 5.0


class Passed:
    """A network's outputs, and the way back; by the batch, or by running statistics."""

    def __init__(self, layers: Layers, x: np.ndarray, by_batch: bool = True) -> None:
        self.layers, self.by_batch = layers, by_batch
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []
        self.xhat: list[np.ndarray] = []
        self.deviation: list[np.ndarray] = []
        first, *hidden, (head, bias) = layers
        self.inputs = [self.normalised(x, *first)]
        for weight, *norm in hidden:
            z = self.normalised(self.inputs[-1] @ weight.T, *norm)
            self.inputs.append(np.tanh(z))
        self.output = self.inputs[-1] @ head.T + bias

    def normalised(self, x, gain, shift, running_mean, running_variance):
        self.seen.append((x.mean(0), x.var(0)))
        mean, variance = self.seen[-1] if self.by_batch else (running_mean, running_variance)
        self.deviation.append(np.sqrt(variance + EPSILON))
        self.xhat.append((x - mean) / self.deviation[-1])
        return gain * self.xhat[-1] + shift

    def backward(self, by_output: np.ndarray) -> tuple[Layers, np.ndarray]:
        """The gradients of all that is trained, and that of the input."""
        gradients: Layers = [[by_output.T @ self.inputs[-1], by_output.sum(0)]]
        by_y = by_output @ self.layers[-1][0]
        for i in reversed(range(1, len(self.layers) - 1)):
            by_z = by_y * (1 - self.inputs[i] ** 2)
            by_sum, of_gain = self.through_norm(i, by_z, self.layers[i][1])
            of_layer = [by_sum.T @ self.inputs[i - 1], of_gain, by_z.sum(0)]
            gradients.insert(0, of_layer)
            by_y = by_sum @ self.layers[i][0]
        by_x, of_gain = self.through_norm(0, by_y, self.layers[0][0])
        return [[of_gain], *gradients], by_x  # the next norm takes the first one's shift away again

    def through_norm(self, i, by_z, gain):
        xhat, by_xhat = self.xhat[i], by_z * gain
        if self.by_batch:
            by_xhat = by_xhat - by_xhat.mean(0) - xhat * (by_xhat * xhat).mean(0)
        return by_xhat / self.deviation[i], (by_z * xhat).sum(0)

    def remember(self) -> None:
        for layer, (mean, variance) in zip(self.layers, self.seen, strict=False):
            layer[-2] = MEMORY * layer[-2] + (1 - MEMORY) * mean
            layer[-1] = MEMORY * layer[-1] + (1 - MEMORY) * variance


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


class Reference:
    """XQC's networks and its temperature."""

    delay, tau, last_rate, entropy = 3, 0.005, 0.1, 0.5

    def __init__(
        self, networks: dict[str, Layers], learning_rate: float, bins: int, planned: int
    ) -> None:
        self.online = copy.deepcopy(networks)  # actor, critic_0, critic_1
        self.target = {name: copy.deepcopy(networks[name]) for name in ("critic_0", "critic_1")}
        self.rate, self.planned = learning_rate, planned
        self.adam = {name: Adam(learning_rate) for name in (*networks, "temperature")}
        self.log_temperature: Layers = [[np.array(np.log(0.01))]]
        self.values = np.linspace(-HIGHEST, HIGHEST, bins)
        self.returns: list[float] = []
        self.updates = 0

    def rewards(self, rewards: np.ndarray, ended: np.ndarray, gamma: float) -> None:
        running = 0.0
        for reward, over in zip(rewards, ended, strict=True):
            running = reward + gamma * running
            self.returns.append(running)
            running = 0.0 if over else running

    @property
    def deviation(self) -> float:
        return float(np.std(self.returns))

    @property
    def temperature(self) -> float:
        return float(np.exp(self.log_temperature[0][0]))

    def update(self, batch: Transitions, next_normal: np.ndarray, normal: np.ndarray) -> None:
        """Standard normal numbers for the next action and for the policy's: [batch, act]."""
        for adam in self.adam.values():
            progress = self.updates / self.planned
            adam.learning_rate = self.rate * (1 - (1 - self.last_rate) * progress)
        temperature = self.temperature
        actor = Passed(self.online["actor"], batch.next_observation, by_batch=False)
        after = Sample(actor.output, next_normal)
        inputs = np.concatenate([batch.observation, batch.action], 1)
        next_inputs = np.concatenate([batch.next_observation, after.action], 1)
        discount = batch.discount * (1 - batch.terminated)
        shift = batch.reward / self.deviation - discount * temperature * after.log_prob
        p = self.chosen([softmax(logits) for logits in self.next_logits(inputs, next_inputs)])
        target = self.projected(p, discount, shift)
        for name in ("critic_0", "critic_1"):
            passed = Passed(self.online[name], np.concatenate([inputs, next_inputs]))
            p = softmax(passed.output[: len(inputs)])
            by_logits = np.concatenate([(p - target) / len(inputs), np.zeros_like(p)])
            self.step(name, passed.backward(by_logits)[0], passed)
        self.updates += 1
        if self.updates % self.delay == 0:
            self.improve_policy(batch, normal, temperature)
        for name, layers in self.target.items():
            for layer, other in zip(layers, self.online[name], strict=True):
                for j in range(len(layer)):
                    layer[j] = (1 - self.tau) * layer[j] + self.tau * other[j]

    def next_logits(self, inputs: np.ndarray, next_inputs: np.ndarray) -> list[np.ndarray]:
        both = np.concatenate([inputs, next_inputs])
        return [Passed(layers, both).output[len(inputs) :] for layers in self.target.values()]

    def chosen(self, p: list[np.ndarray]) -> np.ndarray:
        """Of both distributions that with the smaller mean."""
        first = (p[0] @ self.values < p[1] @ self.values)[:, None]
        return np.where(first, *p)

    def projected(self, p: np.ndarray, discount: np.ndarray, shift: np.ndarray) -> np.ndarray:
        target, gap = np.zeros_like(p), self.values[1] - self.values[0]
        for i in range(len(p)):
            for j, value in enumerate(self.values):
                moved = np.clip(shift[i] + discount[i] * value, -HIGHEST, HIGHEST)
                target[i] += p[i, j] * np.maximum(0, 1 - np.abs(moved - self.values) / gap)
        return target

    def step(self, name: str, gradients: Layers, passed: Passed) -> None:
        layers = self.online[name]
        self.adam[name].step(layers, gradients)
        self.constrain(layers)
        passed.remember()

    def constrain(self, layers: Layers) -> None:
        for layer in layers[1:-1]:
            layer[0] = layer[0] / np.linalg.norm(layer[0], axis=1, keepdims=True)
        weight, bias = layers[-1]
        lengths = np.sqrt((weight**2).sum(1) + bias**2)
        layers[-1] = [weight / lengths[:, None], bias / lengths]

    def improve_policy(self, batch: Transitions, normal: np.ndarray, temperature: float) -> None:
        passed = Passed(self.online["actor"], batch.observation)
        sample = Sample(passed.output, normal)
        inputs = np.concatenate([batch.observation, sample.action], 1)
        critics = [Passed(self.online[f"critic_{i}"], inputs, by_batch=False) for i in range(2)]
        p = [softmax(critic.output) for critic in critics]
        means = [each @ self.values for each in p]
        first = means[0] < means[1]
        by_action = np.zeros_like(sample.action)
        for i, on in enumerate((first, ~first)):
            by_mean = np.where(on, -1 / len(inputs), 0.0)[:, None]
            by_logits = by_mean * p[i] * (self.values - means[i][:, None])
            by_action += critics[i].backward(by_logits)[1][:, batch.observation.shape[1] :]
        by_log_prob = np.full(len(inputs), temperature / len(inputs))
        gradients, _ = passed.backward(sample.backward(by_action, by_log_prob))
        self.step("actor", gradients, passed)
        entropy = -sample.log_prob.mean()
        gradient = temperature * (entropy + self.entropy * normal.shape[1])
        self.adam["temperature"].step(self.log_temperature, [[np.array(gradient)]])
