"""Tiny environments, used by id through `environments:NAME`, and how small runs use them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import sparl

LIMIT = 20
"""Steps of an episode of the point."""

TINY = sparl.TD3(hidden=(16, 16), batch_size=8, learning_starts=40)
TINY_SAC = sparl.SAC(hidden=(16, 16), batch_size=8, learning_starts=40)
TINY_CROSSQ = sparl.CrossQ(hidden=(16, 16), batch_size=8, learning_starts=40, renorm_from=60)
TINY_XQC = sparl.XQC(
    hidden=(16, 16), critic_hidden=(16, 16), batch_size=8, learning_starts=40, bins=11
)
SMALL_OFENET = {
    "representation": "ofenet",
    "representation_units": 10,
    "representation_layers": 3,
}
TINY_DQN = sparl.DQN(hidden=(16, 16), batch_size=8, learning_starts=40, epsilon_steps=100)
TINY_ON_POLICY = sparl.PrimalDual(hidden=(16, 16), batch_size=4)
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


class Far(Point):
    """The point, of which observations tell in numbers that are far from 0 and hardly differ."""

    def observe(self) -> Any:
        return (super().observe() * [0.1, 100.0] + [50.0, -300.0]).astype(np.float32)


class Counting(Point):
    """Observations say which episode and step of it they are of: a number drawn by the episode's
    seed, the number of the episode, and the step. Episodes end after 2 to 6 steps, half of them by
    themselves, and a step's reward is its number, from 1."""

    observation_space = spaces.Box(0, 2**20, (3,))
    episode = -1
    stepped: list[tuple[int, int]] = []  # noqa: RUF012
    """Drawn number and step before, of all that was ever stepped in this process."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.drawn = int(self.np_random.integers(2**20))
        self.episode += 1
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Counting.stepped.append((self.drawn, self.t))
        assert self.t < length(self.drawn), "it should have been reset"
        self.t += 1
        ended, by_itself = self.t == length(self.drawn), self.drawn % 2 == 0
        return self.observe(), float(self.t), ended and by_itself, ended and not by_itself, {}

    def observe(self) -> Any:
        return np.array([getattr(self, "drawn", 0), self.episode, self.t], np.float32)


def length(drawn: int) -> int:
    """Steps of the episode of `Counting` that drew that number."""
    return 2 + drawn // 2 % 5


def drawn_by(seed: int) -> int:
    """What an episode of `Counting` draws that is reset with that seed."""
    rng = np.random.default_rng(seed)
    rng.uniform(-1, 1)  # where the point begins
    return int(rng.integers(2**20))


class Ragged(Point):
    """Ends by itself after 2 to 12 steps, as it draws when it is reset."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        found = super().reset(seed=seed)
        self.end = self.np_random.integers(2, 13)
        return found

    def terminated(self) -> bool:
        return self.t == self.end


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


class Numbered(Point):
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


class Mortal(Numbered):
    """In a process of Ray's it kills that, in the 13th step of some seeds."""

    @staticmethod
    def kills(seed: int) -> bool:
        return seed % 41 == 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        if self.kills(self.seed) and self.t == 12 and "default_worker" in sys.argv[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def apart() -> bool:
    """Whether this is a process that steps one of several environments."""
    return multiprocessing.parent_process() is not None


class Killed(Point):
    """In a process of its own that is killed, in the 30th step."""

    steps = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Killed.steps += 1
        if Killed.steps == 30 and apart():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Unsendable(Exception):
    def __init__(self, *parts: Any) -> None:
        super().__init__("the gear [/red] came off")
        self.parts = parts


class Cryptic(Point):
    """In a process of its own it raises, in the 30th step, what cannot be sent to another."""

    steps = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Cryptic.steps += 1
        if Cryptic.steps == 30 and apart():
            raise Unsendable(lambda: None)
        return super().step(action)


class Red(Point):
    """Raises what rich would take for markup, in the 30th step."""

    steps = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Red.steps += 1
        if Red.steps % 30 == 0:
            raise ArithmeticError("a gear [/red] :x: came off")
        return super().step(action)


class Clinging(Point):
    """In a process of its own it never closes."""

    def close(self) -> None:
        while apart():
            time.sleep(1)


class Stopping(Point):
    """Sends Ctrl-C to its own process, in one step."""

    steps = 0
    at = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        Stopping.steps += 1
        if Stopping.steps == Stopping.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().step(action)


class Unmakeable(Point):
    def __init__(self, render_mode: str | None = None) -> None:
        raise Unsendable


class Image(Point):
    observation_space = spaces.Box(0, 255, (32, 32, 3), np.uint8)


class Boundless(Point):
    action_space = spaces.Box(-np.inf, np.inf, (1,))


class Halves(Point):
    """The point, of which observations tell as a Dict."""

    observation_space = spaces.Dict(
        {"at": spaces.Box(-np.inf, np.inf, (1,)), "time": spaces.Box(0, 1, (1,))}
    )

    def observe(self) -> Any:
        return {
            "at": np.array([self.x], np.float32),
            "time": np.array([self.t / LIMIT], np.float32),
        }


class Lander(Point):
    """The point in the spaces of LunarLanderContinuous-v3, which would need Box2D."""

    observation_space = spaces.Box(
        -np.float32([2.5, 2.5, 10, 10, 2 * np.pi, 10, 0, 0]),
        np.float32([2.5, 2.5, 10, 10, 2 * np.pi, 10, 1, 1]),
    )
    action_space = spaces.Box(-1.0, 1.0, (2,))

    def observe(self) -> Any:
        return np.array([self.x, self.t / LIMIT, 0, 0, 0, 0, 0, 0], np.float32)


class Together(Point):
    """Takes a step in a process of its own when as many as `count` have begun the same one."""

    def __init__(self, folder: str = "", count: int = 0) -> None:
        super().__init__()
        self.folder, self.count, self.steps = Path(folder), count, 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        if multiprocessing.parent_process() is None:  # an evaluation
            return super().step(action)
        self.steps += 1
        (self.folder / f"{self.steps}-{os.getpid()}-{id(self)}").touch()
        deadline = time.monotonic() + 60  # on a busy machine processes begin late
        while len(list(self.folder.glob(f"{self.steps}-*"))) < self.count:
            if time.monotonic() > deadline:
                raise TimeoutError("the others have not begun this step")
            time.sleep(0.001)
        return super().step(action)


class Words(Point):
    observation_space = spaces.Sequence(spaces.Box(-1, 1, (1,)))


KINDS = (
    *(Point, Far, Counting, Ragged, Steps, Falling, Broken, Unreal, UnrealObservation, Huge),
    *(Killed, Cryptic, Red, Clinging, Stopping, Unmakeable),
    *(Image, Boundless, Halves, Lander, Words, TwoChoices, Numbered, Mortal, Together),
)
for kind in KINDS:
    gym.register(f"{kind.__name__}-v0", kind, max_episode_steps=LIMIT, disable_env_checker=True)
gym.register("Endless-v0", Point, disable_env_checker=True)
