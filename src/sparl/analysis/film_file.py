"""Films as files of some hundred kilobytes: frames made small, one palette for all of a GIF."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any

import imageio.v3 as imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image

GIF_RATE, MP4_RATE = 12.5, 25.0
"""Most frames per second."""
COLORS = 128
"""Colours of a GIF. The whole film has one palette, so pixels that do not change are not stored
again."""


def shrunk(frame: NDArray[np.uint8], widest: int) -> Image.Image:
    """Scales a frame to at most so many pixels per row, and to even sizes, as video codecs need."""
    return _resized(Image.fromarray(frame), widest)


def gif(frames: list[Image.Image], fps: float) -> bytes:
    """Gives a GIF that begins again at its end."""
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


def gif_within(frames: list[Image.Image], fps: float, most: int) -> bytes:
    """Gives a GIF of at most so many bytes, in smaller frames if need be."""
    while len(content := gif(frames, fps)) > most and frames[0].width > 16:
        # Bytes go with the area, and a little more is taken off, so that one time is enough.
        scale = 0.95 * (most / len(content)) ** 0.5
        frames = [_resized(frame, int(scale * frame.width)) for frame in frames]
    return content


def mp4(frames: list[Image.Image], fps: float) -> bytes:
    """Gives an mp4, by the extra `video`.

    Raises:
        ImportError: The extra is not there.
    """
    options: Any = {"fps": fps, "codec": "libx264", "pixelformat": "yuv420p"}
    options["macro_block_size"] = 2  # sizes are even; for 16 it would resize them, with a warning
    stack = np.stack([np.asarray(frame) for frame in frames])
    with warnings.catch_warnings():
        # JAX has threads and so warns of a fork. This fork starts ffmpeg at once, which is safe.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        return imageio.imwrite("<bytes>", stack, extension=".mp4", **options)


def _resized(image: Image.Image, widest: int) -> Image.Image:
    scale = min(1.0, widest / image.width)
    width, height = (max(2, 2 * round(scale * n / 2)) for n in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
