"""A layer's weights as a picture: a pixel for each, transparent where none is kept.

Positive weights are orange, negative ones blue, and the larger the stronger. Colours are of middle
lightness, for light pages and dark ones.
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
"""Opacity of a kept weight that is next to nothing: it is kept all the same."""
LEVELS = 8
"""Of opacity; more of them make files larger and pictures no clearer."""
LARGEST = 1024
"""Pixels along a side; larger matrices are averaged down to it."""
SIDE = 512
"""Pixels of the page that the longest side of a network's matrices should take."""

WIDEST = 16
"""Most of them for one weight."""


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, with its size on the page in CSS pixels."""

    source: str
    width: int
    height: int


def pictures(layers: tuple[Layout, ...]) -> list[Picture]:
    """Of the layers of one network, all at one scale: outputs downwards, inputs to the right."""
    longest = max(max(layer.shape) for layer in layers)
    scale = min(SIDE // longest, WIDEST) if longest <= SIDE else SIDE / longest
    found = []
    for layer in layers:
        weights, kept = np.asarray(layer.to_dense()), np.asarray(layer.active()) > 0
        width, height = (max(1, round(scale * n)) for n in reversed(layer.shape))
        found.append(Picture(_png(_colored(weights, kept)), width, height))
    return found


def _colored(weights: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """[out, in, 4]: red, green, blue and opacity. The strongest 2 % are all alike."""
    sizes = np.abs(weights)
    strong = float(np.quantile(sizes[kept], 0.98)) if kept.any() else 0.0
    share = np.clip(sizes / strong, 0.0, 1.0) if strong > 0 else np.zeros_like(sizes)
    opacity = FAINTEST + (1.0 - FAINTEST) * np.round(share * (LEVELS - 1)) / (LEVELS - 1)
    found = np.zeros((*weights.shape, 4), np.uint8)
    found[..., :3] = np.where((weights < 0)[..., None], NEGATIVE, POSITIVE)
    found[..., 3] = np.round(255 * opacity)
    found[~kept] = 0
    return found


def _png(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels, "RGBA")
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
