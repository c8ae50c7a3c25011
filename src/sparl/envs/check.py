"""What a user should know of an environment before training in it.

gymnasium's own checker says whether it keeps gymnasium's rules; the rest is measured in a few
episodes of random actions.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from sparl import validation
from sparl.envs.maker import EnvMaker
from sparl.envs.read_spaces import spaces_of
from sparl.envs.seeds import episode_seed
from sparl.envs.spaces import Spaces
from sparl.errors import BadEnvironment, SparlError

COARSE = 0.1
"""Part of an entry's deviation that a step from one float32 to the next may be."""
LARGE = 10.0
"""Deviation of an observation's entry from which on normalising observations is advised."""


class Finding(NamedTuple):
    """Something that is not as it might be."""

    what: str
    so: str
    """What sparl does about it, or what the user can do."""


@dataclass(frozen=True)
class Checked:
    """An environment as it was found."""

    spaces: Spaces
    action_space: gym.Space
    longest: int | None
    """Steps after which an episode is truncated; None without a limit."""
    findings: tuple[Finding, ...]
    reset_seconds: float
    step_seconds: float
    """Medians."""
    episodes: int
    """That ended within the steps played."""
    random_return: float | None
    """Mean return of random actions in those."""
    middle_return: float | None
    """The same of actions in the middle of their range, which are zeros mostly: what an agent that
    has learned nothing but to do nothing earns. None for discrete actions."""

    def as_dict(self) -> dict[str, Any]:
        """All that was found, as JSON has it."""
        spaces = self.spaces
        return {
            "observation_size": spaces.observation_size,
            "entries": [entry._asdict() for entry in spaces.entries],
            "actions": "discrete" if spaces.discrete else "continuous",
            "action_size": spaces.action_size,
            "longest": self.longest,
            "findings": [finding._asdict() for finding in self.findings],
            "reset_seconds": self.reset_seconds,
            "step_seconds": self.step_seconds,
            "episodes": self.episodes,
            "random_return": self.random_return,
            "middle_return": self.middle_return,
        }


class _Played(NamedTuple):
    """Steps that were played."""

    observations: NDArray[np.float32]
    """[steps + episodes, obs]."""
    rewards: NDArray[np.float64]
    resets: list[float]
    """Seconds of each."""
    steps: list[float]
    returns: list[float]
    """Of the episodes that ended."""


def check(make: EnvMaker, steps: int = 1000, seed: int = 0, round_actions: bool = False) -> Checked:
    """Looks at an environment, and plays random actions in it, then zeros if they are continuous.

    Args:
        steps: How many are played of each.
        seed: Of the episodes and the actions.
        round_actions: As in `RunConfig`.

    Raises:
        BadEnvironment: No agent can be trained in it. The message says why.
    """
    validation.at_least(1, steps=steps)
    validation.at_least(0, seed=seed)
    raw = make.base()
    try:
        findings = [*_gymnasiums(raw), *_arrays(raw, seed)]
    finally:
        with _told_of("close"):
            raw.close()
    env = make()
    try:
        spaces = spaces_of(env, round_actions)
        played = _play(env, spaces, steps, seed)
        findings += _repeats(env, spaces, seed)
        longest = env.spec.max_episode_steps if env.spec else None
        findings += _measured(played, longest)
        middle = None if spaces.discrete else np.zeros(spaces.action_size, np.float32)
        still = [] if middle is None else _play(env, spaces, steps, seed, middle).returns
        returns = played.returns
        return Checked(
            spaces=spaces,
            action_space=env.action_space,
            longest=longest,
            findings=tuple(findings),
            reset_seconds=float(np.median(played.resets)),
            step_seconds=float(np.median(played.steps)),
            episodes=len(returns),
            random_return=float(np.mean(returns)) if returns else None,
            middle_return=float(np.mean(still)) if still else None,
        )
    finally:
        env.close()


def _gymnasiums(raw: gym.Env) -> list[Finding]:
    """What gymnasium's own checker finds."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            check_env(raw.unwrapped, skip_render_check=True)
            failed = []
        except SparlError:
            raise
        except (Exception, SystemExit) as error:
            failed = [f"{type(error).__name__}: {error}"]
    texts = [_plain(str(warning.message)) for warning in told]
    so = "gymnasium's advice; sparl trains all the same"
    broken = "gymnasium's checker stops there; look at it first, although sparl may go on"
    return [Finding(text, so) for text in dict.fromkeys(texts)] + [
        Finding(text, broken) for text in failed
    ]


def _plain(text: str) -> str:
    """A warning without gymnasium's colours."""
    return text.replace("\x1b[33mWARN: ", "").replace("\x1b[0m", "").strip()


def _arrays(raw: gym.Env, seed: int) -> list[Finding]:
    """Whether it gives the same array again and again, and rewards that are arrays."""
    findings = []
    try:
        raw.action_space.seed(seed)
        first, _ = raw.reset(seed=seed)
        second, reward, *_ = raw.step(raw.action_space.sample())
    except (Exception, SystemExit):  # playing it meets this again, and says what is wrong
        return []
    arrays = isinstance(first, np.ndarray) and isinstance(second, np.ndarray)
    if arrays and np.shares_memory(first, second):
        so = "sparl copies each as it comes; other code that keeps them sees the newest alone"
        findings.append(Finding("every observation is the same array", so))
    if isinstance(reward, np.ndarray) and reward.ndim:
        so = "taken as a number" if reward.size == 1 else "wrap it: agents need one number"
        findings.append(Finding(f"rewards are arrays of shape {reward.shape}", so))
    return findings


def _play(
    env: gym.Env,
    spaces: Spaces,
    steps: int,
    seed: int,
    always: NDArray[np.float32] | None = None,
) -> _Played:
    """Plays one action in [-1, 1] all the time, or random ones."""
    rng = np.random.default_rng([seed, *b"check"])
    played = _Played(np.zeros((0, spaces.observation_size), np.float32), np.zeros(0), [], [], [])
    observations, rewards, total, ended = [], [], 0.0, True
    while len(rewards) < steps:
        before = time.perf_counter()
        if ended:
            number = len(played.resets)
            with _told_of("reset"):
                observation, _ = env.reset(seed=episode_seed(seed, "check", number))
            played.resets.append(time.perf_counter() - before)
            total, ended = 0.0, False
        else:
            chosen = spaces.random(rng) if always is None else always
            action = spaces.to_env_action(chosen)
            with _told_of("step"):
                observation, reward, terminated, truncated, _ = env.step(action)
            played.steps.append(time.perf_counter() - before)
            rewards.append(float(reward))
            total, ended = total + rewards[-1], terminated or truncated
            if ended:
                played.returns.append(total)
        spaces.flat_one(observation)  # refuses another shape
        observations.append(np.asarray(observation, np.float64).reshape(-1))
    return played._replace(observations=np.stack(observations), rewards=np.array(rewards))


@contextmanager
def _told_of(method: str) -> Iterator[None]:
    """A context in which whatever an environment raises becomes `BadEnvironment`."""
    try:
        yield
    except SparlError:
        raise
    except (Exception, SystemExit) as error:
        raise BadEnvironment(f"{method} raised {type(error).__name__}: {error}") from error


def _repeats(env: gym.Env, spaces: Spaces, seed: int) -> list[Finding]:
    """Whether the same seed and actions give the same again."""
    played = [_play(env, spaces, 20, seed) for _ in range(2)]
    if np.array_equal(*(p.observations for p in played), equal_nan=True):
        return []
    so = "seeds do not repeat it, so a resumed run goes on with other episodes"
    return [Finding("the same seed and actions gave other observations", so)]


def _measured(played: _Played, longest: int | None) -> list[Finding]:
    findings = []
    entries = played.observations
    if not (np.isfinite(entries).all() and np.isfinite(played.rewards).all()):
        so = "a run stops there, saved; bound it (np.clip), or --nonfinite skip"
        findings.append(Finding("observations or rewards that are not finite", so))
        return findings
    if longest is None and not played.returns:
        so = "give --max-episode-steps, or training cuts an episode when a checkpoint is overdue"
        findings.append(Finding(f"no episode ended in {len(played.steps)} steps, no limit", so))
    deviation = entries.std(axis=0)
    steps = np.spacing(np.abs(entries).max(axis=0).astype(np.float32))
    if (coarse := np.flatnonzero((deviation > 0) & (steps > COARSE * deviation))).size:
        so = "agents see float32: subtract an offset in the environment, or in a wrapper"
        what = f"entries {_numbers(coarse)} lie too far from 0 for how little they vary"
        findings.append(Finding(f"{what} (to {np.abs(entries[:, coarse]).max():.3g})", so))
    if (large := np.flatnonzero(deviation > LARGE)).size:
        so = "--normalize-observations may help"
        what = f"entries {_numbers(large)} vary by more than {LARGE:g}"
        findings.append(Finding(f"{what} (to {deviation.max():.3g})", so))
    if (constant := np.flatnonzero(deviation == 0)).size:
        so = "they cost arithmetic and tell nothing: name the others in --inputs"
        findings.append(Finding(f"entries {_numbers(constant)} never changed", so))
    if len(np.unique(played.rewards)) == 1:
        so = "random actions never met another one: learning may not begin"
        findings.append(Finding(f"every reward was {played.rewards[0]:g}", so))
    return findings


def _numbers(of: NDArray[np.intp]) -> str:
    shown = ", ".join(map(str, of[:6]))
    return f"{shown}, … ({len(of)})" if len(of) > 6 else shown
