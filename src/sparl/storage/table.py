"""A CSV file that grows with a run and can be cut back to a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sparl.errors import BadCheckpoint


class Table:
    """A CSV file that grows by rows and can be cut back to where a checkpoint found it."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.path, self.columns = path, columns

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row; a column that `row` lacks stays empty.

        A file that is there already, of an older sparl perhaps, keeps the columns that it has.
        """
        if self.path.exists():
            with open(self.path) as file:
                self.columns, header = file.readline().strip().split(","), ""
        else:
            header = ",".join(self.columns) + "\n"
        with open(self.path, "a") as file:
            file.write(header + ",".join(_cell(row.get(c)) for c in self.columns) + "\n")

    def size(self) -> int:
        """Bytes so far, on the disk when this returns."""
        if not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Drops all beyond the first `size` bytes: rows after the checkpoint resumed from."""
        if size == 0:
            self.path.unlink(missing_ok=True)
        elif self.path.exists() and self.path.stat().st_size >= size:
            os.truncate(self.path, size)
        else:
            raise BadCheckpoint(f"{self.path} is shorter than when the checkpoint was saved")


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return repr(value) if isinstance(value, float) else str(value)
