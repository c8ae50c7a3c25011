"""What agents share: the batch they learn from, and checks of hyperparameters."""

from __future__ import annotations

import math
from typing import NamedTuple

from jaxtyping import Array, Float

from sparl.errors import BadValue


class Batch(NamedTuple):
    """Transitions drawn from the replay. Actions are in [-1, 1]; `terminated` is 0 or 1."""

    observation: Float[Array, "batch obs"]
    action: Float[Array, "batch act"]
    reward: Float[Array, " batch"]
    next_observation: Float[Array, "batch obs"]
    terminated: Float[Array, " batch"]


def check_positive(*, zero_too: bool = False, **values: int | float) -> None:
    """Raises `BadValue` naming the first value that is not above 0 (or not at least 0)."""
    for name, value in values.items():
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero_too):
            bound = "at least 0" if zero_too else "above 0"
            raise BadValue(f"{name.replace('_', '-')} is {value}: it must be {bound}")


def check_fractions(**values: int | float) -> None:
    """Raises `BadValue` naming the first value outside [0, 1]."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise BadValue(f"{name.replace('_', '-')} is {value}: it must be between 0 and 1")
