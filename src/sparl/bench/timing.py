"""Time of compiled calls, contenders in turn.

A machine slows down and speeds up in the course of seconds. So contenders take turns, a short
block of calls each, several times over; medians then leave disturbances out, and ratios are taken
turn by turn, of blocks that saw the same machine.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

BLOCK = 0.02
"""Least seconds of a block of calls."""

Call = Callable[[], Any]


def in_blocks(contenders: Mapping[str, Call], repetitions: int) -> dict[str, list[float]]:
    """Seconds per call of each contender, one figure per repetition.

    Every call is waited for, so it is latency that is timed, a call's own cost included.
    """
    sizes = {name: _calls_in_block(call) for name, call in contenders.items()}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, call in contenders.items():
            found[name].append(_seconds(call, sizes[name]) / sizes[name])
    return found


def median_of(
    function: Callable[[float, float], float], a: Sequence[float], b: Sequence[float]
) -> float:
    """The median of a function of two contenders' figures, repetition by repetition."""
    return statistics.median(function(x, y) for x, y in zip(a, b, strict=True))


def _calls_in_block(call: Call) -> int:
    _seconds(call, 2)  # compiles, and touches all memory
    calls = 1
    while (seconds := _seconds(call, calls)) < BLOCK:
        # Up to tenfold: the first figures are rough.
        calls = min(10 * calls, math.ceil(1.1 * calls * BLOCK / seconds))
    return calls


def _seconds(call: Call, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(call())
    return time.perf_counter() - started
