"""TD3 once more, from its paper (1802.09477), and TD3+BC (2106.06860): see `reference`."""

from __future__ import annotations

import copy

import numpy as np
from reference import Adam, Layers, Transitions, backward, follow, forward


class Reference:
    """TD3's six networks; `update` is algorithm 1 of the paper."""

    def __init__(
        self,
        networks: dict[str, Layers],
        learning_rate: float,
        tau: float,
        policy_noise: float,
        noise_clip: float,
        policy_delay: int,
        behaviour_cloning: float = 0.0,
    ) -> None:
        self.online = copy.deepcopy(networks)  # actor, critic_0, critic_1
        self.target = copy.deepcopy(networks)
        self.adam = {name: Adam(learning_rate) for name in networks}
        self.tau, self.policy_delay = tau, policy_delay
        self.policy_noise, self.noise_clip = policy_noise, noise_clip
        self.behaviour_cloning = behaviour_cloning
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
            follow(self.target, self.online, self.tau)

    def target_values(self, batch: Transitions, noise: np.ndarray) -> np.ndarray:
        action = np.tanh(forward(self.target["actor"], batch.next_observation)[-1])
        action = np.clip(action + self.smoothing(noise), -1, 1)
        inputs = np.concatenate([batch.next_observation, action], 1)
        q = [forward(self.target[f"critic_{i}"], inputs)[-1][:, 0] for i in range(2)]
        return batch.reward + batch.discount * self.goes_on(batch) * self.pessimistic(*q)

    def improve_policy(self, batch: Transitions) -> None:
        passed = forward(self.online["actor"], batch.observation)
        action = np.tanh(passed[-1])
        inputs = np.concatenate([batch.observation, action], 1)
        critic = self.online["critic_0"]
        valued = forward(critic, inputs)
        _, by_inputs = backward(critic, valued, self.by_q(valued[-1]))
        by_action = by_inputs[:, batch.observation.shape[1] :]
        if self.behaviour_cloning:
            by_action = by_action + self.imitation(action, batch.action)
        gradients, _ = backward(self.online["actor"], passed, by_action * (1 - action**2))
        self.adam["actor"].step(self.online["actor"], gradients)

    # What makes TD3 out of DDPG, and TD3+BC out of that, each apart so that the tests can get it
    # wrong on purpose.

    def by_q(self, q: np.ndarray) -> np.ndarray:
        """The gradient of minus the mean value; of cloning's scaled one, whose scale is fixed."""
        scale = self.behaviour_cloning / np.abs(q).mean() if self.behaviour_cloning else 1.0
        return np.full_like(q, -scale / len(q))

    def imitation(self, action: np.ndarray, logged: np.ndarray) -> np.ndarray:
        """The gradient of the mean squared difference."""
        return 2 * (action - logged) / action.size

    def smoothing(self, noise: np.ndarray) -> np.ndarray:
        return np.clip(self.policy_noise * noise, -self.noise_clip, self.noise_clip)

    def pessimistic(self, q_0: np.ndarray, q_1: np.ndarray) -> np.ndarray:
        return np.minimum(q_0, q_1)

    def goes_on(self, batch: Transitions) -> np.ndarray:
        return 1 - batch.terminated

    def targets_follow(self) -> bool:
        return self.updates % self.policy_delay == 0
