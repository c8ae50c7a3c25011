"""One episode of a policy as a film."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np

from sparl import envs
from sparl.errors import BadEnvironment, BadValue
from sparl.policy import Policy


def film(env_id: str, policy: Policy, seed: int, path: Path) -> None:
    """Writes a .gif, or an .mp4 where the extra `video` is installed.

    Raises `BadValue` for another kind of file, `BadEnvironment` if the environment cannot be
    rendered here.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise BadValue(f"{path}: a video is a .gif or an .mp4")
    with closing(envs.make(env_id, render_mode="rgb_array")) as env:
        observation, _ = env.reset(seed=envs.episode_seed(seed, "eval", 0))
        fps = int(env.metadata.get("render_fps", 30))
        frames, ended = [], False
        while not ended:
            try:
                frames.append(np.asarray(env.render()))
            except Exception as error:
                raise BadEnvironment(
                    f"{env_id} cannot be rendered here: {error}. Without a screen, MuJoCo needs "
                    "MUJOCO_GL=egl or MUJOCO_GL=osmesa"
                ) from error
            action, _ = policy.predict(observation)
            observation, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Formats differ in how they take the speed: a gif in milliseconds to a frame.
        speed: dict[str, Any] = {"duration": 1000 / fps} if path.suffix == ".gif" else {"fps": fps}
        imageio.imwrite(path, np.stack(frames), **speed)
    except (ImportError, OSError) as error:
        raise BadValue(f'{path} could not be written ({error}); pip install "sparl[video]"') from (
            error
        )
