"""Tiny environments, used by id through `environments:NAME`, and how small runs use them."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import sparl

LIMIT = 20
"""Steps of an episode of the point."""

TINY = sparl.TD3Config(hidden=(16, 16), batch_size=8, learning_starts=40)
TINY_SAC = sparl.SACConfig(hidden=(16, 16), batch_size=8, learning_starts=40)
TINY_DQN = sparl.DQNConfig(hidden=(16, 16), batch_size=8, learning_starts=40, epsilon_steps=100)
TINY_ON_POLICY = sparl.PrimalDualConfig(hidden=(16, 16), batch_size=4)
OFTEN: dict[str, Any] = {
    "steps": 200,
    "eval_every": 50,
    "eval_episodes": 2,
    "checkpoint_every": 40,
    "log_every": 25,
    "quiet": True,
}
"""Options of a run of a few seconds with several evaluations and checkpoints."""


class Point(gym.Env):
    """A point on a line that is pushed about; return is minus the distances from 0."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space: spaces.Space = spaces.Box(-np.inf, np.inf, (2,))
    action_space: spaces.Space = spaces.Box(np.float32([-1.0]), np.float32([3.0]))

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1)
        self.t = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.t += 1
        self.x += 0.1 * float(np.asarray(action).reshape(-1)[0])
        return self.observe(), -abs(self.x), self.terminated(), False, {}

    def observe(self) -> Any:
        return np.array([self.x, self.t / LIMIT], np.float32)

    def terminated(self) -> bool:
        return False

    def render(self) -> Any:
        return np.full((16, 16, 3), self.t % 256, np.uint8)


class Steps(Point):
    """The point, pushed left, not at all, or right; the choices are numbered from 3."""

    action_space = spaces.Discrete(3, start=3)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        return super().step(int(action) - 4)


class TwoChoices(Point):
    action_space = spaces.MultiDiscrete([2, 3])


class Falling(Point):
    """Ends by itself after 7 steps, each with a reward of 1."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, 1.0, terminated, truncated, info

    def terminated(self) -> bool:
        return self.t == 7


class Broken(Point):
    """Raises once, in the 90th step of the process."""

    steps = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Broken.steps += 1
        if Broken.steps == 90:
            raise ArithmeticError("a gear came off")
        return super().step(action)


class Unreal(Point):
    """From the 90th step on, rewards or observations are not finite."""

    steps = 0
    reward = float("nan")
    x_then = 0.0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Unreal.steps += 1
        observation, reward, *rest = super().step(action)
        if Unreal.steps >= 90:
            observation, reward = observation + np.float32(self.x_then), self.reward
        return observation, reward, *rest


class UnrealObservation(Unreal):
    reward = -1.0
    x_then = float("inf")


class Huge(Point):
    """Rewards whose squares are beyond float32."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, _, *rest = super().step(action)
        return observation, 1e30, *rest


class Counting(Point):
    """Observations are (the episode's seed modulo 2^20, the step in it); rewards are the steps."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        assert seed is not None
        self.seed = seed % 2**20
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        observation, _, *rest = super().step(action)
        return observation, float(self.t), *rest

    def observe(self) -> Any:
        return np.array([self.seed, self.t], np.float32)


class Mortal(Counting):
    """In a process of Ray's it kills that, in the 13th step of some seeds."""

    @staticmethod
    def kills(seed: int) -> bool:
        return seed % 41 == 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        if self.kills(self.seed) and self.t == 12 and "default_worker" in sys.argv[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Image(Point):
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)


class Boundless(Point):
    action_space = spaces.Box(-np.inf, np.inf, (1,))


class Words(Point):
    observation_space = spaces.Dict({"x": spaces.Box(-1, 1, (1,))})


KINDS = (
    *(Point, Steps, Falling, Broken, Unreal, UnrealObservation, Huge),
    *(Image, Boundless, Words, TwoChoices, Counting, Mortal),
)
for kind in KINDS:
    gym.register(f"{kind.__name__}-v0", kind, max_episode_steps=LIMIT, disable_env_checker=True)
gym.register("Endless-v0", Point, disable_env_checker=True)
