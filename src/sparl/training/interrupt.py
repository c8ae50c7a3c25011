"""Ctrl-C and SIGTERM as a request: save at the end of the episode, then leave.

A checkpoint cut at an episode's end determines what follows exactly; that is worth a few seconds.
An episode that takes longer than `GRACE` is cut, and a second signal leaves at once.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

GRACE = 20.0
"""Seconds that an episode has to end by itself after a request to stop."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop by `signal`, saved and left; the message says how to go on."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.signal = number


class Interrupt:
    """A context in which the two signals are noted in `signal` instead of killing the process."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self.signal: int | None = None
        self._since = math.inf
        self._before: dict[signal.Signals, Any] = {}

    @property
    def overdue(self) -> bool:
        """The request has waited for the end of the episode long enough."""
        return time.monotonic() - self._since > GRACE

    def __enter__(self) -> Interrupt:
        # Python lets only the main thread set handlers; elsewhere signals do what they always do.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal, self._since = number, time.monotonic()
        self._restore()
        self._note("finishing the episode before saving; the same signal again leaves at once")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
