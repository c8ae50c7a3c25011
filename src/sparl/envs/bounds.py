"""Bounds of actions in float32, as devices and ONNX compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def inner_float32(
    low: Sequence[float], high: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bounds as float32 that lie within the given ones.

    float32(-0.1) is below -0.1, and an environment with bounds in float64 refuses it. So lower
    bounds are rounded up and upper bounds down. Where no float32 lies between the two, both are the
    one nearest to the lower bound.

    Args:
        low: Lower bounds, finite.
        high: Upper bounds, none below its lower one.

    Returns:
        The largest interval in float32 within each of the given ones.
    """
    wide_low, wide_high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    infinity = np.float32(np.inf)
    with np.errstate(over="ignore"):  # beyond float32 they become infinite, and are moved back
        nearest, inner_high = wide_low.astype(np.float32), wide_high.astype(np.float32)
        inner_low = np.where(nearest < wide_low, np.nextafter(nearest, infinity), nearest)
        lower = np.nextafter(inner_high, -infinity)
        inner_high = np.where(inner_high > wide_high, lower, inner_high)
    empty = inner_low > inner_high
    return np.where(empty, nearest, inner_low), np.where(empty, nearest, inner_high)
