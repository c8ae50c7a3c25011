"""How learning rates go over a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp

Anneal = Literal["constant", "linear", "cosine"]


def annealing(kind: Anneal, end: float) -> Callable[[Any], Any] | None:
    """Share of a run that is over -> what learning rates are multiplied by.

    Args:
        kind: The form of the way down.
        end: The factor at the end of the run; it begins with 1.

    Returns:
        The function, or None where learning rates stay what they are.
    """
    if kind == "constant":
        return None

    def factor(progress: Any) -> Any:
        falling = 1.0 - progress
        if kind == "cosine":
            falling = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        return end + (1.0 - end) * falling

    return factor
