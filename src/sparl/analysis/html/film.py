"""The beginning of an episode as a film of some hundred kilobytes, embedded in the report."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from itertools import islice

from sparl.analysis.film_file import GIF_RATE, MP4_RATE, gif, mp4, shrunk
from sparl.analysis.video import play
from sparl.config import RunConfig
from sparl.policy import Policy

SECONDS = 8.0
"""Longest film; it shows the episode at its own speed."""
WIDTH = 320
"""Most pixels per row."""


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
        rate, encode, kind = GIF_RATE, gif, "image/gif"
    else:
        rate, encode, kind = MP4_RATE, mp4, "video/mp4"
    fps, episode = play(run, policy, seed, most=rate)
    frames = [shrunk(frame, WIDTH) for frame in islice(episode, max(1, round(SECONDS * fps)))]
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


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(content).decode()
