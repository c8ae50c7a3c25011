"""CSV tables of a run, which a resumed run cuts back to its checkpoint."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparl.errors import BadCheckpoint


class Table:
    """A CSV file that grows row by row, and can be cut back to its size at a checkpoint."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        """A table at `path`; nothing is written before the first row.

        Args:
            path: The file. If it exists, its own columns are used.
            columns: The columns of a new file, in order.
        """
        self.path, self.columns = path, columns

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row, or leaves the file as it was.

        A file that exists already, perhaps from an older sparl, keeps its columns.

        Args:
            row: Values by column. Columns without a value stay empty; other keys are ignored.

        Raises:
            OSError: The row could not be written, for example because the disk is full.
        """
        before = self.path.stat().st_size if self.path.exists() else 0
        if before:
            with open(self.path, encoding="utf-8") as file:
                self.columns, header = file.readline().strip().split(","), ""
        else:
            header = ",".join(self.columns) + "\n"
        line = header + ",".join(_cell(row.get(c)) for c in self.columns) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            # A part of a row would make the next one a part of it. To cut a file needs no room.
            with suppress(OSError):
                os.truncate(self.path, before)
            raise

    def size(self) -> int:
        """The size of the file in bytes; all of them are on the disk when this returns."""
        if not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Drops the rows that were written after a checkpoint.

        Args:
            size: Bytes that remain: what `size` gave at the checkpoint.

        Raises:
            BadCheckpoint: The file is shorter than that.
        """
        if size == 0:
            self.path.unlink(missing_ok=True)
        elif self.path.exists() and self.path.stat().st_size >= size:
            os.truncate(self.path, size)
        else:
            raise BadCheckpoint(f"{self.path} is shorter than when the checkpoint was saved")


def _cell(value: Any) -> str:
    """A value as CSV; None and nan are empty."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return repr(value) if isinstance(value, float) else str(value)
