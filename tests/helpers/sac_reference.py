"""SAC once more, from its paper (1812.05905): see `reference`."""

from __future__ import annotations

import copy

import numpy as np
from reference import Adam, Layers, Transitions, backward, follow, forward

LOG_STD = (-20.0, 2.0)


class Sample:
    """Actions of the squashed Gaussian, their log-densities, and the way back to the network."""

    def __init__(self, actor: Layers, observation: np.ndarray, normal: np.ndarray) -> None:
        self.actor, self.normal = actor, normal
        self.passed = forward(actor, observation)
        mean, raw = np.split(self.passed[-1], 2, axis=1)
        self.inside = (raw > LOG_STD[0]) & (raw < LOG_STD[1])
        log_std = np.clip(raw, *LOG_STD)
        self.std = np.exp(log_std)
        self.action = np.tanh(mean + self.std * normal)
        gaussian = -0.5 * normal**2 - log_std - 0.5 * np.log(2 * np.pi)
        self.log_prob = (gaussian - np.log1p(-(self.action**2))).sum(1)

    def backward(self, by_action: np.ndarray, by_log_prob: np.ndarray) -> Layers:
        """The actor's gradients.

        d log_prob / d u = 2 tanh(u), through the change of variables; the Gaussian's own part
        depends on log_std alone, `normal` being held.
        """
        by_u = by_action * (1 - self.action**2) + by_log_prob[:, None] * 2 * self.action
        by_log_std = by_u * self.std * self.normal - by_log_prob[:, None]
        by_head = np.concatenate([by_u, by_log_std * self.inside], 1)
        return backward(self.actor, self.passed, by_head)[0]


class Reference:
    """SAC's networks and its temperature; `update` is a gradient step of algorithm 1."""

    def __init__(
        self, networks: dict[str, Layers], learning_rate: float, tau: float, temperature: float
    ) -> None:
        self.online = copy.deepcopy(networks)  # actor, critic_0, critic_1
        self.target = {n: copy.deepcopy(net) for n, net in networks.items() if n != "actor"}
        self.adam = {name: Adam(learning_rate) for name in [*networks, "temperature"]}
        self.tau = tau
        self.log_temperature: Layers = [[np.array(np.log(temperature))]]

    @property
    def temperature(self) -> float:
        return float(np.exp(self.log_temperature[0][0]))

    def update(self, batch: Transitions, next_normal: np.ndarray, normal: np.ndarray) -> None:
        """Standard normal numbers for the next action and for the policy's: [batch, act]."""
        temperature = self.temperature
        after = Sample(self.online["actor"], batch.next_observation, next_normal)
        inputs = np.concatenate([batch.next_observation, after.action], 1)
        q = [forward(self.target[f"critic_{i}"], inputs)[-1][:, 0] for i in range(2)]
        value = np.minimum(*q) - self.bonus(temperature, after.log_prob)
        y = batch.reward + batch.discount * (1 - batch.terminated) * value

        inputs = np.concatenate([batch.observation, batch.action], 1)
        for name in ("critic_0", "critic_1"):
            passed = forward(self.online[name], inputs)
            by_q = (passed[-1] - y[:, None]) / len(y)  # of half the mean squared error
            self.adam[name].step(self.online[name], backward(self.online[name], passed, by_q)[0])

        sample = Sample(self.online["actor"], batch.observation, normal)
        self.improve_policy(batch, sample, temperature)
        entropy = -sample.log_prob.mean()
        gradient = [[np.array(temperature * (entropy - self.target_entropy(sample)))]]
        self.adam["temperature"].step(self.log_temperature, gradient)
        follow(self.target, self.online, self.tau)

    def improve_policy(self, batch: Transitions, sample: Sample, temperature: float) -> None:
        inputs = np.concatenate([batch.observation, sample.action], 1)
        passed = [forward(self.online[f"critic_{i}"], inputs) for i in range(2)]
        first = self.first_is_smaller(passed[0][-1], passed[1][-1])
        by_action = np.zeros_like(sample.action)
        for i, chosen in enumerate((first, ~first)):
            by_q = np.where(chosen, -1 / len(inputs), 0.0)  # of minus the mean of the smaller
            _, by_inputs = backward(self.online[f"critic_{i}"], passed[i], by_q)
            by_action += by_inputs[:, batch.observation.shape[1] :]
        by_log_prob = np.full(len(inputs), temperature / len(inputs))
        self.adam["actor"].step(self.online["actor"], sample.backward(by_action, by_log_prob))

    # Apart so that the tests can get them wrong on purpose.

    def bonus(self, temperature: float, log_prob: np.ndarray) -> np.ndarray:
        return temperature * log_prob

    def target_entropy(self, sample: Sample) -> float:
        return -sample.action.shape[1]

    def first_is_smaller(self, q_0: np.ndarray, q_1: np.ndarray) -> np.ndarray:
        return q_0 < q_1
