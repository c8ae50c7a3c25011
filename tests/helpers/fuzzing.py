"""What all fuzzing shares: how many cases there are, what a case may do, and how cases ended."""

from __future__ import annotations

import itertools
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings

from sparl.errors import SparlError

SECONDS = 60
"""A case that takes longer hangs."""
MOST_MEMORY = 2 * 2**20
"""Kilobytes that a case may take."""
LONGER = 20
"""Times as many cases in the profile `long`."""
OUTCOMES: Counter[tuple[str, str]] = Counter()


def cases(count: int) -> settings:
    """So many cases, and `LONGER` times as many with --hypothesis-profile=long."""
    times = LONGER if settings.get_current_profile_name() == "long" else 1
    return settings(
        max_examples=count * times,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def allowed(kind: str) -> Iterator[Callable[[str], None]]:
    """A case, which may raise a SparlError and nothing else, and must come to an end.

    Gives a function that notes how the case ended, if it did not raise.
    """

    ticks = itertools.count(1)

    def tick(*_: object) -> None:
        # Counted second by second: a process that was stopped for a while has not hung.
        if next(ticks) == SECONDS:
            raise AssertionError(f"{kind}: this has taken {SECONDS} s")

    told: list[str] = []
    peak()  # what was before the case does not count
    memory = peak()
    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    try:
        yield told.append
    except SparlError as error:
        assert str(error) and "\n" not in str(error).strip()[:2000]
        told.append(type(error).__name__)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        OUTCOMES[kind, *(told[-1:] or ["raised"])] += 1
    taken = peak() - memory
    assert taken < MOST_MEMORY, f"{kind}: {taken} kB"


def peak() -> int:
    """Kilobytes of memory that the process had at most since this was last asked; 0 if unknown."""
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return 0
    return int(text.partition("VmHWM:")[2].split()[0])
