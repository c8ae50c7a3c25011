"""Errors that a user can put right: bad values, bad files, bad environments.

Every message names the value that is wrong and the way out. The command line prints the message
alone; where it prints a traceback, the fault is a bug of sparl.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class SparlError(Exception):
    """Base of all errors that a user can put right; the message says how."""


class BadValue(SparlError, ValueError):
    """An option or argument that cannot be used."""


class BadEnvironment(SparlError):
    """An environment that cannot be made, or in which the chosen agent cannot act."""


class BadRun(SparlError):
    """A run folder that is missing, is in use, or belongs to another run."""


class BadFile(SparlError):
    """A file that is missing, truncated, altered, of another version, or not what it should be."""

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        field: str = "",
        value: Any = None,
        way_out: str = "",
    ) -> None:
        """
        Args:
            message: Names the file and what is wrong with it.
            file: The file.
            field: Where in the file: `layers[0].shape[1]`, or a line and a column.
            value: What is there.
            way_out: A sentence on what can be done; it ends the message.
        """
        text = f"{message}. {way_out}" if way_out else message
        # A file's own words may be in it: they must not move a terminal's cursor, say.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))
        self.file = None if file is None else Path(file)
        self.field, self.value, self.way_out = field, value, way_out

    def followed_by(self, way_out: str) -> BadFile:
        """The same error with a further way out."""
        return BadFile(
            str(self), file=self.file, field=self.field, value=self.value, way_out=way_out
        )


BadCheckpoint = BadFile
"""The name that `BadFile` had in sparl 0.1."""


class Untrusted(SparlError):
    """A run folder that names code, and was not written by this user on this machine."""


class Diverged(SparlError):
    """Training met a value that is not finite, and stopped."""


class EnvironmentFailed(SparlError):
    """The environment raised an exception while training stepped it."""
