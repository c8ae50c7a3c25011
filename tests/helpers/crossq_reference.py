"""CrossQ once more, from its paper and code (1902.05605): see `reference`.

A layer has six arrays: weight, bias, and of the norm of its inputs gain, shift, running mean and
running variance. Activations are tanh: a ReLU that is on for all samples hides its bias from the
norm behind it, and the bias's gradient is then nothing but rounding.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from reference import Adam, Layers, Transitions

LOG_STD = (-20.0, 2.0)
EPSILON, MEMORY, TRAINED = 1e-3, 0.99, 4


@dataclass
class Normed:
    """What the way back through one norm needs."""

    y: np.ndarray
    xhat: np.ndarray
    r: np.ndarray
    d: np.ndarray
    deviation: np.ndarray


class Passed:
    """Networks in training mode: outputs, gradients, and the statistics that were seen."""

    def __init__(self, layers: Layers, x: np.ndarray, bounds: tuple[float, float]) -> None:
        self.layers, self.norms, self.sums = layers, [], []
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []
        for i, (weight, bias, gain, shift, running_mean, running_variance) in enumerate(layers):
            mean, variance = x.mean(0), x.var(0)
            deviation, running = np.sqrt(variance + EPSILON), np.sqrt(running_variance + EPSILON)
            r = np.clip(deviation / running, 1 / bounds[0], bounds[0])
            d = np.clip((mean - running_mean) / running, -bounds[1], bounds[1])
            xhat = (x - mean) / deviation
            self.seen.append((mean, variance))
            self.norms.append(Normed(gain * (xhat * r + d) + shift, xhat, r, d, deviation))
            self.sums.append(self.norms[-1].y @ weight.T + bias)
            x = np.tanh(self.sums[-1]) if i < len(layers) - 1 else self.sums[-1]
        self.output = x

    def backward(self, by_output: np.ndarray) -> tuple[Layers, np.ndarray]:
        """The gradients of weights, biases, gains and shifts, and that of the input."""
        gradients: Layers = []
        for i in reversed(range(len(self.layers))):
            weight, _, gain, *_ = self.layers[i]
            norm = self.norms[i]
            by_y = by_output @ weight
            of_gain = (by_y * (norm.xhat * norm.r + norm.d)).sum(0)
            of_layer = [by_output.T @ norm.y, by_output.sum(0), of_gain, by_y.sum(0)]
            gradients.insert(0, of_layer)
            by_xhat = by_y * gain * norm.r
            by_x = by_xhat - by_xhat.mean(0) - norm.xhat * (by_xhat * norm.xhat).mean(0)
            by_output = by_x / norm.deviation
            if i > 0:
                by_output = by_output * (1 - np.tanh(self.sums[i - 1]) ** 2)
        return gradients, by_output

    def by_inputs(self, by_output: np.ndarray) -> np.ndarray:
        return self.backward(by_output)[1]

    def remember(self) -> None:
        for layer, (mean, variance) in zip(self.layers, self.seen, strict=True):
            layer[4] = MEMORY * layer[4] + (1 - MEMORY) * mean
            layer[5] = MEMORY * layer[5] + (1 - MEMORY) * variance


class Evaluated:
    """Networks in evaluation mode: outputs, and gradients of the input."""

    def __init__(self, layers: Layers, x: np.ndarray) -> None:
        self.layers, self.sums = layers, []
        for i, (weight, bias, gain, shift, mean, variance) in enumerate(layers):
            y = gain * (x - mean) / np.sqrt(variance + EPSILON) + shift
            self.sums.append(y @ weight.T + bias)
            x = np.tanh(self.sums[-1]) if i < len(layers) - 1 else self.sums[-1]
        self.output = x

    def by_inputs(self, by_output: np.ndarray) -> np.ndarray:
        for i in reversed(range(len(self.layers))):
            weight, _, gain, _, _, variance = self.layers[i]
            by_x = by_output @ weight * gain / np.sqrt(variance + EPSILON)
            by_output = by_x * (1 - np.tanh(self.sums[i - 1]) ** 2) if i else by_x
        return by_output


class Sample:
    """Actions of the squashed Gaussian, their log-densities, and the way back to its output."""

    def __init__(self, output: np.ndarray, normal: np.ndarray) -> None:
        mean, raw = np.split(output, 2, axis=1)
        self.inside = (raw > LOG_STD[0]) & (raw < LOG_STD[1])
        log_std = np.clip(raw, *LOG_STD)
        self.normal, self.std = normal, np.exp(log_std)
        self.action = np.tanh(mean + self.std * normal)
        gaussian = -0.5 * normal**2 - log_std - 0.5 * np.log(2 * np.pi)
        self.log_prob = (gaussian - np.log1p(-np.minimum(self.action**2, 1 - 1e-16))).sum(1)

    def backward(self, by_action: np.ndarray, by_log_prob: np.ndarray) -> np.ndarray:
        by_u = by_action * (1 - self.action**2) + by_log_prob[:, None] * 2 * self.action
        by_log_std = by_u * self.std * self.normal - by_log_prob[:, None]
        return np.concatenate([by_u, by_log_std * self.inside], 1)


class Reference:
    """CrossQ's networks and its temperature."""

    beta1 = 0.5
    delay = 3
    bounds = (3.0, 5.0)

    def __init__(self, networks: dict[str, Layers], learning_rate: float) -> None:
        self.online = copy.deepcopy(networks)  # actor, critic_0, critic_1
        self.adam = {name: Adam(learning_rate, beta1=self.beta1) for name in networks}
        self.adam["temperature"] = Adam(learning_rate)
        self.log_temperature: Layers = [[np.array(0.0)]]
        self.updates = 0

    @property
    def temperature(self) -> float:
        return float(np.exp(self.log_temperature[0][0]))

    def update(self, batch: Transitions, next_normal: np.ndarray, normal: np.ndarray) -> None:
        """Standard normal numbers for the next action and for the policy's: [batch, act]."""
        temperature = self.temperature
        after = Sample(Evaluated(self.online["actor"], batch.next_observation).output, next_normal)
        inputs = np.concatenate([batch.observation, batch.action], 1)
        next_inputs = np.concatenate([batch.next_observation, after.action], 1)
        q, next_q, gradients = self.critics(inputs, next_inputs)
        value = np.min(next_q, axis=0) - temperature * after.log_prob
        y = batch.reward + batch.discount * (1 - batch.terminated) * value
        for i, gradient in enumerate(gradients):
            self.step(f"critic_{i}", *gradient((q[i] - y) / len(y)))
        self.updates += 1
        if self.updates % self.delay == 0:
            self.improve_policy(batch, normal, temperature)

    def critics(self, inputs, next_inputs):
        """Values of both, and functions from gradients of the first to a network's gradients and
        the passes to remember."""
        q, next_q, gradients = [], [], []
        for i in range(2):
            both = np.concatenate([inputs, next_inputs])
            passed = Passed(self.online[f"critic_{i}"], both, self.bounds)
            q.append(passed.output[: len(inputs), 0])
            next_q.append(passed.output[len(inputs) :, 0])

            def gradient(by_q, passed=passed):
                by_output = np.concatenate([by_q, np.zeros(len(next_inputs))])[:, None]
                return passed.backward(by_output)[0], [passed]

            gradients.append(gradient)
        return q, next_q, gradients

    def step(self, name: str, gradients: Layers, passes: list[Passed]) -> None:
        self.adam[name].step(self.online[name], gradients)
        for passed in passes:
            passed.remember()

    def improve_policy(self, batch: Transitions, normal: np.ndarray, temperature: float) -> None:
        passed = Passed(self.online["actor"], batch.observation, self.bounds)
        sample = Sample(passed.output, normal)
        inputs = np.concatenate([batch.observation, sample.action], 1)
        critics = [self.judge(self.online[f"critic_{i}"], inputs) for i in range(2)]
        first = critics[0].output < critics[1].output
        by_action = np.zeros_like(sample.action)
        for critic, chosen in zip(critics, (first, ~first), strict=True):
            by_inputs = critic.by_inputs(np.where(chosen, -1 / len(inputs), 0.0))
            by_action += by_inputs[:, batch.observation.shape[1] :]
        by_log_prob = np.full(len(inputs), temperature / len(inputs))
        gradients, _ = passed.backward(sample.backward(by_action, by_log_prob))
        self.step("actor", gradients, [passed])
        entropy = -sample.log_prob.mean()
        gradient = [[np.array(entropy + normal.shape[1])]]  # by the temperature's logarithm
        self.adam["temperature"].step(self.log_temperature, gradient)

    def judge(self, layers: Layers, inputs: np.ndarray) -> Evaluated | Passed:
        return Evaluated(layers, inputs)
