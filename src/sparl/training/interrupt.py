"""Ctrl-C and SIGTERM: requests to save at the end of the episode and then stop.

A run resumes exactly only from a checkpoint at the end of an episode, which is worth a few seconds.
An episode that takes longer than `GRACE` is cut. A second signal stops the process at once.
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
"""Seconds that an episode has to end after a request to stop."""


class Interrupted(KeyboardInterrupt):
    """A run was saved and stopped because of a signal; the message says how to resume it."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.signal = number
        """The number of the signal."""


class Interrupt:
    """A context in which the two signals only set `signal`, and do not kill the process."""

    def __init__(self, note: Callable[[str], None]) -> None:
        """
        Args:
            note: Tells the user a sentence.
        """
        self._note = note
        self.signal: int | None = None
        """The number of the signal that asked to stop; None if there was none."""
        self._since = math.inf
        self._before: dict[signal.Signals, Any] = {}

    @property
    def overdue(self) -> bool:
        """Whether the request has waited for longer than `GRACE`."""
        return time.monotonic() - self._since > GRACE

    def __enter__(self) -> Interrupt:
        # Python lets only the main thread set handlers. In other threads signals work as usual.
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
