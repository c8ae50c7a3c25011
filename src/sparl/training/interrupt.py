"""Ctrl-C and SIGTERM: requests to save at the end of the episode and then stop.

A run resumes exactly only from a checkpoint at the end of an episode, which is worth a few seconds.
An episode or an evaluation that takes longer than `GRACE` is cut. A second signal stops the process
at once.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

GRACE = 20.0
"""Seconds that an episode has to end after a request to stop."""
LAST = 3.0
"""Seconds that the main thread has to leave after a second request."""
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
"""What asks to stop. SIGBREAK is Windows' Ctrl-Break, by which a sweep stops its runs."""

Given = TypeVar("Given")
Result = TypeVar("Result")


class Interrupted(KeyboardInterrupt):
    """A run was saved and stopped because of a signal; the message says how to resume it."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.signal = number
        """The number of the signal."""


class Overdue(Exception):
    """A request to stop has waited for longer than `GRACE`."""


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
        self._watch = _Watch()

    @property
    def overdue(self) -> bool:
        """Whether the request has waited for longer than `GRACE`."""
        return time.monotonic() - self._since > GRACE

    def in_time(self, function: Callable[[Given], Result]) -> Callable[[Given], Result]:
        """The same function, which raises `Overdue` instead once a request is overdue."""

        def checked(argument: Given) -> Result:
            if self.overdue:
                raise Overdue
            return function(argument)

        return checked

    def __enter__(self) -> Interrupt:
        # Python lets only the main thread set handlers. In other threads signals work as usual.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._request)
            self._watch.begin()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        self._watch.end()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal, self._since = number, time.monotonic()
        for other, handler in self._before.items():
            # Shells have jobs in the background ignore Ctrl-C: the next one is no less meant.
            ignored = signal.default_int_handler if other == signal.SIGINT else signal.SIG_DFL
            signal.signal(other, ignored if handler == signal.SIG_IGN else handler)
        self._note("finishing the episode before saving; the same signal again leaves at once")


class _Watch:
    """Ends the process after a second signal, where the main thread does not.

    Python calls handlers between two of its own instructions. A compilation may take a minute in
    which there are none, and then two signals are one. This thread hears of each.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._ends: tuple[int, int] | None = None

    def begin(self) -> None:
        """Starts to count signals, unless somebody else in this process does (asyncio, say)."""
        heard, told = os.pipe()
        if sys.platform != "win32":  # where Python asks for it
            os.set_blocking(told, False)
        other = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        if other != -1:
            signal.set_wakeup_fd(other)
            os.close(heard)
            os.close(told)
            return
        self._ends = heard, told
        self._over.clear()
        self._thread = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stops counting."""
        if self._ends is None:
            return
        heard, told = self._ends
        self._ends = None
        self._over.set()
        signal.set_wakeup_fd(-1)
        os.write(told, b"\0")
        self._thread.join()
        os.close(heard)
        os.close(told)

    def _listen(self, heard: int) -> None:
        count = 0
        while not self._over.is_set():
            for number in os.read(heard, 16):
                count += number in SIGNALS
                if count > 1 and not self._over.wait(LAST):
                    os._exit(128 + number)
