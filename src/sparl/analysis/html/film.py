"""The beginning of an episode as a film of some hundred kilobytes, embedded in the report."""

from __future__ import annotations

import base64
import warnings
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparl.analysis.video import play
from sparl.config import RunConfig
from sparl.policy import Policy

SECONDS = 8.0
"""Longest film; it shows the episode at its own speed."""
GIF_RATE, MP4_RATE = 12.5, 25.0
"""Most frames per second."""
WIDTH = 320
"""Most pixels per row."""
COLORS = 128
"""Colours of a GIF. The whole film has one palette, so pixels that do not change are not stored
again."""


@dataclass(frozen=True)
class Film:
    """A film and its first frame as data URIs."""

    source: str
    still: str
    """The first frame, a PNG."""
    moving_picture: bool
    """True for an mp4, False for a GIF."""
    seconds: float
    width: int
    height: int


def film(run: RunConfig, policy: Policy, seed: int) -> Film:
    """Films the beginning of the first episode that is evaluated with a seed.

    The film is an mp4 if the extra `video` is installed, and a GIF if not.

    Raises:
        BadEnvironment: The environment cannot be made or rendered.
    """
    try:
        import imageio_ffmpeg  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        rate, encode, kind = GIF_RATE, _gif, "image/gif"
    else:
        rate, encode, kind = MP4_RATE, _mp4, "video/mp4"
    fps, episode = play(run, policy, seed, most=rate)
    frames = [_shrink(frame) for frame in islice(episode, max(1, round(SECONDS * fps)))]
    episode.close()
    still = BytesIO()
    frames[0].save(still, "PNG", optimize=True)
    return Film(
        _uri(kind, encode(frames, fps)),
        _uri("image/png", still.getvalue()),
        kind == "video/mp4",
        len(frames) / fps,
        *frames[0].size,
    )


def _shrink(frame: NDArray[np.uint8]) -> Image.Image:
    """Scales a frame to at most `WIDTH`, and to even sizes, which video codecs need."""
    image = Image.fromarray(frame)
    scale = min(1.0, WIDTH / image.width)
    width, height = (max(2, 2 * round(scale * n / 2)) for n in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _gif(frames: list[Image.Image], fps: float) -> bytes:
    # The palette is computed of frames from all over the film, put side by side.
    samples = frames[:: max(1, len(frames) // 8)]
    sheet = Image.fromarray(np.concatenate([np.asarray(frame) for frame in samples], axis=1))
    palette = sheet.quantize(COLORS, Image.Quantize.MEDIANCUT)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = BytesIO()
    flat[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=flat[1:],
        duration=round(1000 / fps),
        loop=0,
        optimize=True,
    )
    return file.getvalue()


def _mp4(frames: list[Image.Image], fps: float) -> bytes:
    options: Any = {"fps": fps, "codec": "libx264", "pixelformat": "yuv420p"}
    stack = np.stack([np.asarray(frame) for frame in frames])
    with warnings.catch_warnings():
        # JAX has threads and so warns of a fork. This fork starts ffmpeg at once, which is safe.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        return imageio.imwrite("<bytes>", stack, extension=".mp4", **options)


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(content).decode()
