"""Films the beginning of an episode of a policy."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl import envs
from sparl.analysis.film_file import GIF_RATE, MP4_RATE, gif_within, mp4, shrunk
from sparl.config import RunConfig
from sparl.errors import BadEnvironment, BadValue, SparlError
from sparl.policy import Policy
from sparl.storage import files

SECONDS = 10.0
"""Longest film; it shows the episode at its own speed."""
WIDTH = 480
"""Most pixels per row."""
LARGEST = 3_000_000
"""Most bytes of a GIF."""


def film(
    run: RunConfig,
    policy: Policy,
    seed: int,
    path: Path,
    tell: Callable[[int, int], None] = lambda made, of: None,
) -> float:
    """Writes a film of the beginning of the first episode that is evaluated with a seed.

    A GIF begins again at its end and has at most `LARGEST` bytes; its pixels are made fewer for
    that where the scene is a restless one.

    Args:
        run: The run whose environment is played.
        policy: Acts without exploration.
        seed: Decides the seed of the episode.
        path: A .gif, or an .mp4, which needs the extra `video`; it is whole or absent.
        tell: Is told after each frame how many there are, and how many at most there will be.

    Returns:
        The seconds that it lasts.

    Raises:
        BadValue: The file is of another kind or cannot be written.
        BadEnvironment: The environment cannot be rendered here.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise BadValue(f"{path}: a video is a .gif or an .mp4")
    as_gif = path.suffix == ".gif"
    fps, episode = play(run, policy, seed, GIF_RATE if as_gif else MP4_RATE)
    most, frames = max(1, round(SECONDS * fps)), []
    with closing(episode):
        for frame in islice(episode, most):
            frames.append(shrunk(frame, WIDTH))  # a whole one may have megabytes
            tell(len(frames), most)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = gif_within(frames, fps, LARGEST) if as_gif else mp4(frames, fps)
        files.write_bytes(path, content)
    except (ImportError, OSError) as error:
        way_out = "" if as_gif else '; pip install "sparl[video]"'
        raise BadValue(f"{path} could not be written ({error}){way_out}") from error
    return len(frames) / fps


def draw_without_a_screen() -> None:
    """Lets MuJoCo and SDL, which pygame is made of, draw where there is no screen.

    Before they are imported, for they look then.
    """
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


Frames = Generator[NDArray[np.uint8], None, None]
"""Frames [height, width, 3], made one by one. Closing the generator closes the environment."""


class Playback(NamedTuple):
    """An episode as a film."""

    fps: float
    frames: Frames


def play(run: RunConfig, policy: Policy, seed: int, most: float = math.inf) -> Playback:
    """Plays the first episode that is evaluated with a seed.

    Frames are rendered when they are taken; close the generator when no more are needed.

    Args:
        run: The run whose environment is played.
        policy: Acts without exploration.
        seed: Decides the seed of the episode.
        most: Approximate upper limit of frames per second.

    Raises:
        BadEnvironment: The environment cannot be made or rendered here.
    """
    draw_without_a_screen()
    try:
        env = run.maker()(render_mode="rgb_array")
    except SparlError:
        raise
    except Exception as error:  # MuJoCo looks for OpenGL when it is imported
        raise _cannot_render(run.env, error) from error
    _use_tracking_camera(env)
    fps = float(env.metadata.get("render_fps", 30))
    every = max(1, round(fps / most))
    return Playback(fps / every, _frames(run.env, env, policy, seed, every))


def _use_tracking_camera(env: Any) -> None:
    """Chooses MuJoCo's camera that follows the robot, where the model has one."""
    # From gymnasium 1.4 on the default camera stands still, and runners leave the picture.
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None and renderer.camera_id == -1:
        with suppress(KeyError):
            renderer.camera_id = env.unwrapped.model.camera("track").id


def _frames(env_id: str, env: Any, policy: Policy, seed: int, every: int) -> Frames:
    try:
        observation, _ = env.reset(seed=envs.episode_seed(seed, "eval", 0))
        step, ended = 0, False
        while not ended:
            if step % every == 0:
                yield _render(env_id, env)
            action, _ = policy.predict(observation)
            observation, _, terminated, truncated, _ = env.step(action)
            step, ended = step + 1, terminated or truncated
    finally:
        # An environment that failed to render may fail to close, which must not hide the reason.
        with suppress(Exception):
            env.close()


def _render(env_id: str, env: Any) -> NDArray[np.uint8]:
    try:
        frame = env.render()
        if frame is None:
            raise ValueError("render() gives None where render_mode is rgb_array")
        return np.asarray(frame, np.uint8)
    except Exception as error:
        raise _cannot_render(env_id, error) from error


def _cannot_render(env_id: str, error: Exception) -> BadEnvironment:
    return BadEnvironment(
        f"{env_id} cannot be rendered here: {error}. Without a screen, MuJoCo needs MUJOCO_GL=egl "
        "or MUJOCO_GL=osmesa"
    )
