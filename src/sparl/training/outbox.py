"""What a log has not written yet, so that a disk that is full costs neither a run nor a row."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

Piece = TypeVar("Piece")


class Outbox(Generic[Piece]):
    """Writes the pieces of a log in their order; what cannot be written waits for the next try."""

    def __init__(self, write: Callable[[Piece], object]) -> None:
        """
        Args:
            write: Writes a piece wholly, or raises `OSError` and leaves the log as it was.
        """
        self._write = write
        self._waiting: deque[Piece] = deque()
        self.error: OSError | None = None
        """Why the newest try failed; None if nothing waits."""

    def put(self, piece: Piece) -> None:
        """Adds a piece, and writes what can be written."""
        self._waiting.append(piece)
        self.send()

    def send(self) -> None:
        """Tries to write what waits; says in `error` why something still does."""
        self.error = None
        while self._waiting and self.error is None:
            try:
                self._write(self._waiting[0])
            except OSError as error:
                self.error = error
            else:
                self._waiting.popleft()


def described(error: OSError, folder: Path) -> str:
    """An error of writing into a folder, and how much room there is."""
    text = error.strerror or str(error)
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        text += f" ({free / 1e6:,.0f} MB are free where {folder} is)"
    return text
