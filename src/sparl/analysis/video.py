"""One episode of a policy as a film."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray

from sparl import envs
from sparl.config import RunConfig
from sparl.errors import BadEnvironment, BadValue, SparlError
from sparl.policy import Policy


def film(run: RunConfig, policy: Policy, seed: int, path: Path) -> None:
    """Writes a .gif, or an .mp4 where the extra `video` is installed.

    Raises `BadValue` for another kind of file, `BadEnvironment` if the environment cannot be
    rendered here.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise BadValue(f"{path}: a video is a .gif or an .mp4")
    fps, pictures = play(run, policy, seed)
    frames = np.stack(list(pictures))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Formats differ in how they take the speed: a gif in milliseconds to a frame.
        speed: dict[str, Any] = {"duration": 1000 / fps} if path.suffix == ".gif" else {"fps": fps}
        imageio.imwrite(path, frames, **speed)
    except (ImportError, OSError) as error:
        raise BadValue(f'{path} could not be written ({error}); pip install "sparl[video]"') from (
            error
        )


Frames = Generator[NDArray[np.uint8], None, None]
"""[height, width, 3] each."""


def play(run: RunConfig, policy: Policy, seed: int, most: float = math.inf) -> tuple[float, Frames]:
    """Frames per second, about `most` at most, and the frames of the first episode that is
    evaluated with this seed.

    They are made as they are asked for; whoever needs no more of them closes the generator.
    Raises `BadEnvironment` if the environment cannot be made, or rendered here.
    """
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        # Without a screen; MuJoCo looks at this when it is imported, which may have been before.
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        env = run.make(render_mode="rgb_array")
    except SparlError:
        raise
    except Exception as error:  # MuJoCo looks for OpenGL when it is imported
        raise _unrendered(run.env, error) from error
    _follow(env)
    fps = float(env.metadata.get("render_fps", 30))
    every = max(1, round(fps / most))
    return fps / every, _frames(run.env, env, policy, seed, every)


def _follow(env: Any) -> None:
    """Has MuJoCo's runners followed by the camera made for it, if there is one: from gymnasium 1.4
    on it stands still, and they run out of the picture."""
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
                yield _rendered(env_id, env)
            action, _ = policy.predict(observation)
            observation, _, terminated, truncated, _ = env.step(action)
            step, ended = step + 1, terminated or truncated
    finally:
        # What could not be rendered cannot always be closed, and must not hide the reason.
        with suppress(Exception):
            env.close()


def _rendered(env_id: str, env: Any) -> NDArray[np.uint8]:
    try:
        return np.asarray(env.render(), np.uint8)
    except Exception as error:
        raise _unrendered(env_id, error) from error


def _unrendered(env_id: str, error: Exception) -> BadEnvironment:
    return BadEnvironment(
        f"{env_id} cannot be rendered here: {error}. Without a screen, MuJoCo needs MUJOCO_GL=egl "
        "or MUJOCO_GL=osmesa"
    )
