"""CSV tables of a run, which a resumed run cuts back to its checkpoint."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile
from sparl.storage import files, schema, system

Columns = dict[str, NDArray[np.float64]]
"""A table of numbers by column, NaN where a cell is empty."""
LARGEST = 2**30
"""Bytes of a table that are read at most."""
_STEP = re.compile(r"\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?(\d+(\.\d*)?([eE][+-]?\d+)?|inf)", re.ASCII)


@dataclass(frozen=True)
class Mark:
    """How far a table had come: a checkpoint and a summary keep it."""

    bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    sha256: schema.Digest | None = None
    """Of these bytes; None in what sparl 0.1 wrote."""


class Table:
    """A CSV file that grows row by row, and can be cut back to its size at a checkpoint."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        """A table at `path`; nothing is written before the first row.

        Args:
            path: The file. If it exists, its own columns are used.
            columns: The columns of a new file, in order.
        """
        self.path, self.columns = path, columns
        self._hash, self._hashed = hashlib.sha256(), 0

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
            with open(
                self.path, "a", encoding="utf-8", newline="\n", opener=system.no_links
            ) as file:
                file.write(line)
        except OSError:
            # A part of a row would make the next one a part of it. To cut a file needs no room.
            with suppress(OSError):
                os.truncate(self.path, before)
            raise

    def mark(self) -> Mark:
        """How far the file has come; all of it is on the disk when this returns.

        Only what was added since the last call is read, so a long table costs no more than a short
        one.
        """
        if not self.path.exists():
            return Mark()
        # "r+": Windows flushes only what may be written to.
        with open(self.path, "r+b", opener=system.no_links) as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
            if size < self._hashed:  # it was cut
                self._hash, self._hashed = hashlib.sha256(), 0
            file.seek(self._hashed)
            self._hash.update(file.read(size - self._hashed))
            self._hashed = size
        return Mark(size, self._hash.hexdigest())

    def cut(self, mark: Mark) -> None:
        """Drops the rows that were written after a checkpoint.

        Args:
            mark: What `mark` gave at the checkpoint. Of a file that was moved away, nothing is
                left to cut.

        Raises:
            BadFile: The file is shorter than that, or altered.
        """
        if mark.bytes == 0:
            self.path.unlink(missing_ok=True)
        if not self.path.exists():
            return
        _marked(self.path, mark)
        os.truncate(self.path, mark.bytes)
        self._hash, self._hashed = hashlib.sha256(), 0


def read_table(path: Path, mark: Mark | None = None) -> Columns:
    """The numbers of a table; a last row that is still being written is left out.

    Args:
        path: The file.
        mark: How far it is known; rows behind that are read, too.

    Raises:
        BadFile: The file is missing or altered; or a cell is no number, of which line and column
            are named.
    """
    content = _marked(path, Mark() if mark is None else mark)
    try:
        lines = content.decode().splitlines(keepends=True)
        rows = list(csv.reader((line for line in lines if line.endswith("\n")), strict=True))
    except (ValueError, csv.Error) as error:
        raise BadFile(f"{path} cannot be read: {error}", file=path) from error
    if not rows:
        return {}
    names, *rows = rows
    if len(set(names)) < len(names) or "step" not in names:
        problem = "it has a column twice" if "step" in names else "it has no column step"
        raise BadFile(f"{path} cannot be read: {problem}", file=path, field="line 1", value=names)
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise BadFile(
                f"{path} cannot be read: line {number} has {len(row)} cells and line 1 has "
                f"{len(names)}",
                file=path,
                field=f"line {number}",
                value=row,
            )
        for name, cell in zip(names, row, strict=True):
            if not (_STEP if name == "step" else _NUMBER).fullmatch(cell or "0"):
                raise BadFile(
                    f"{path} cannot be read: line {number}, column {name} is {cell!r}, which is no "
                    f"{'step' if name == 'step' else 'number'}",
                    file=path,
                    field=f"line {number}, column {name}",
                    value=cell,
                )
    cells = [[float(cell) if cell else np.nan for cell in row] for row in rows]
    return dict(zip(names, np.array(cells, np.float64).reshape(-1, len(names)).T, strict=True))


def _marked(path: Path, mark: Mark) -> bytes:
    """The content of a file that must begin with what was marked."""
    way_out = "Restore it from a copy, or move it away: the run then begins the table anew"
    content = files.read_bytes(path, LARGEST)
    if len(content) < mark.bytes:
        raise BadFile(
            f"{path} is shorter than when it was last saved: it has {len(content)} bytes of "
            f"{mark.bytes}",
            file=path,
            value=len(content),
            way_out=way_out,
        )
    known = hashlib.sha256(memoryview(content)[: mark.bytes]).hexdigest()
    if mark.sha256 is not None and known != mark.sha256:
        raise BadFile(
            f"{path} is altered: its digest is not that of its content",
            file=path,
            value=known,
            way_out=way_out,
        )
    return content


def _cell(value: Any) -> str:
    """A value as CSV; None and nan are empty."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)
