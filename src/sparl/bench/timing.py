"""Times compiled calls of several contenders, which take turns.

The speed of a machine changes within seconds. So contenders take turns, with a short block of calls
each, several times over. Medians over the turns leave disturbances out. Ratios are taken within a
turn, because its blocks ran at the same speed of the machine.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

BLOCK = 0.02
"""Least duration of a block of calls, in seconds."""

Call = Callable[[], Any]


def in_blocks(contenders: Mapping[str, Call], repetitions: int) -> dict[str, list[float]]:
    """Gives the seconds per call of each contender, one figure per repetition.

    The result of every call is waited for. So the figures are latencies, and include the cost of
    calling.
    """
    sizes = {name: _calls_in_block(call) for name, call in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, call in contenders.items():
            seconds[name].append(_seconds(call, sizes[name]) / sizes[name])
    return seconds


def median_of(
    function: Callable[[float, float], float], a: Sequence[float], b: Sequence[float]
) -> float:
    """Gives the median over repetitions of a function of two contenders' figures."""
    return statistics.median(function(x, y) for x, y in zip(a, b, strict=True))


def _calls_in_block(call: Call) -> int:
    """Gives how many calls take at least `BLOCK` seconds."""
    _seconds(call, 2)  # compiles, and touches all memory for the first time
    calls = 1
    while (seconds := _seconds(call, calls)) < BLOCK:
        # At most tenfold, because the first figures are rough.
        calls = min(10 * calls, math.ceil(1.1 * calls * BLOCK / seconds))
    return calls


def _seconds(call: Call, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(call())
    return time.perf_counter() - started
