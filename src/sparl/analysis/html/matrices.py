"""Pictures of layers: one pixel per weight, transparent where no weight is stored.

Positive weights are orange, negative ones blue; larger weights have stronger colours. The colours
have a middle lightness, which suits a light and a dark background.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparl.layouts import Layout

POSITIVE, NEGATIVE = (232, 119, 34), (46, 126, 214)
FAINTEST = 0.3
"""Opacity of a stored weight that is almost 0, so that it is seen to be stored."""
LEVELS = 8
"""Levels of opacity. More levels make files larger and pictures no clearer."""
LARGEST = 1024
"""Most pixels along a side; larger matrices are averaged down to it."""
SIDE = 512
"""CSS pixels that the longest side of a network's matrices should take."""
WIDEST = 16
"""Most CSS pixels for one weight."""


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, with the size in CSS pixels at which it is shown."""

    source: str
    width: int
    height: int


def pictures(layers: tuple[Layout, ...]) -> list[Picture]:
    """Gives a picture of each layer of one network, all at one scale.

    Outputs go downwards, inputs to the right.
    """
    longest = max(max(layer.shape) for layer in layers)
    scale = min(SIDE // longest, WIDEST) if longest <= SIDE else SIDE / longest
    drawn = []
    for layer in layers:
        weights, kept = np.asarray(layer.to_dense()), np.asarray(layer.active()) > 0
        width, height = (max(1, round(scale * n)) for n in reversed(layer.shape))
        drawn.append(Picture(_png(_colored(weights, kept)), width, height))
    return drawn


def _colored(weights: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Gives red, green, blue and opacity [out, in, 4]; the largest 2 % look alike."""
    sizes = np.abs(weights)
    strong = float(np.quantile(sizes[kept], 0.98)) if kept.any() else 0.0
    share = np.clip(sizes / strong, 0.0, 1.0) if strong > 0 else np.zeros_like(sizes)
    opacity = FAINTEST + (1.0 - FAINTEST) * np.round(share * (LEVELS - 1)) / (LEVELS - 1)
    pixels = np.zeros((*weights.shape, 4), np.uint8)
    pixels[..., :3] = np.where((weights < 0)[..., None], NEGATIVE, POSITIVE)
    pixels[..., 3] = np.round(255 * opacity)
    pixels[~kept] = 0
    return pixels


def _png(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels, "RGBA")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
