"""Which numbers of an observation a network sees.

An actor on a device has its sensors. The critics are there in training alone, and may see more: an
asymmetric actor-critic (Pinto et al., 1710.06542).
"""

from __future__ import annotations

from typing import Any, NamedTuple

Ranges = tuple[tuple[int, int], ...]
"""Stretches of a vector, [first, end) of each, in order."""


class Views(NamedTuple):
    """What of an observation an agent's networks see; None is all of it."""

    acting: Ranges | None = None
    """Those of the part that acts."""
    others: Ranges | None = None


EVERYTHING = Views()


def size(ranges: Ranges) -> int:
    """Numbers in these ranges."""
    return sum(end - first for first, end in ranges)


def select_ranges(ranges: Ranges | None, x: Any, arrays: Any) -> Any:
    """The rows of x that are in these ranges; all of them for None.

    Args:
        x: [in, ...].
        arrays: `jax.numpy` or `numpy`, whichever x is of.
    """
    if ranges is None:
        return x
    return arrays.concatenate([x[first:end] for first, end in ranges])
