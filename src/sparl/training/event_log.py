"""TensorBoard's event files, written by the thread that trains.

tensorboardX encodes the events. Its own writer hands them to a thread, through a queue of
`multiprocessing`. If the thread dies of a full disk, whoever puts the eleventh event into the queue
waits for good; and where no semaphores can be made, as with a /dev/shm that is read-only, there is
no queue at all. So records are written here, each with one call, and an error is the caller's.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboardX.proto.event_pb2 import (
    Event,  # pyright: ignore[reportAttributeAccessIssue]
    SessionLog,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import histogram, scalar

PREFIX = "events.out.tfevents."
"""How the names of TensorBoard's files begin; seconds and the machine's name follow."""
_POSITIVE = 1e-12 * 1.1 ** np.arange(774)
BINS = np.concatenate([-_POSITIVE[::-1], [0.0], _POSITIVE])
"""Bounds of the bins of TensorBoard's histograms, which grow by a tenth from 1e-12 to 1e20."""


class EventLog:
    """A new event file in a folder, which appears with the first event."""

    def __init__(self, folder: Path, resumed_at: int | None) -> None:
        """
        Args:
            folder: Is made if it does not exist.
            resumed_at: The step after which TensorBoard is to forget what earlier files have;
                None for nothing.
        """
        self._folder, self._resumed_at = folder, resumed_at
        self._file: FileIO | None = None
        self._size = 0
        """Bytes of the whole records in the file."""

    def write(self, event: Event) -> None:
        """Writes an event wholly, or leaves the file as it was.

        Raises:
            OSError: The event could not be written.
        """
        if self._file is None:
            self._file = self._open()
        self._append(self._file, event)

    def sync(self) -> None:
        """Makes what was written survive a power cut; raises `OSError` where that is impossible."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _open(self) -> FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names: a clock that has been set back must
        # not put the newest one first.
        names = [path.name.removeprefix(PREFIX) for path in self._folder.glob(f"{PREFIX}*")]
        seconds = [int(name.split(".")[0]) for name in names if name.split(".")[0].isdecimal()]
        number = max([int(time.time()), *(second + 1 for second in seconds)])
        path = self._folder / f"{PREFIX}{number:010d}.{socket.gethostname()}"
        file = FileIO(path, "x")
        try:
            self._size = 0
            now, step = time.time(), self._resumed_at
            self._append(file, Event(wall_time=now, step=step, file_version="brain.Event:2"))
            if step is not None:
                # TensorBoard forgets the step of this event, too; its row is in an earlier file.
                start = SessionLog(status=SessionLog.START)
                self._append(file, Event(wall_time=now, step=step + 1, session_log=start))
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return file

    def _append(self, file: FileIO, event: Event) -> None:
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        record = length + _crc(length) + content + _crc(content)
        left = memoryview(record)
        try:
            while left:  # a disk that is nearly full takes a part
                left = left[file.write(left) :]
        except OSError:
            file.truncate(self._size)
            file.seek(self._size)
            raise
        self._size += len(record)


def scalars(step: int, values: Mapping[str, int | float | None]) -> Event:
    """An event with numbers by tag; those that are None or not a number are left out."""
    event = Event(wall_time=time.time(), step=step)
    for tag, value in values.items():
        if value is not None and value == value:  # not NaN
            event.summary.value.extend(scalar(tag, value).value)
    return event


def histograms(step: int, values: Mapping[str, NDArray]) -> Event:
    """An event with the distributions of vectors by tag."""
    event = Event(wall_time=time.time(), step=step)
    for tag, vector in values.items():
        event.summary.value.extend(histogram(tag, np.asarray(vector), BINS).value)
    return event


def _crc(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(content))
