"""The terminal, as everything that prints tables, notes or progress uses it.

Text is text: nothing in it is read as rich's markup or as an emoji's name, for paths have brackets
and ids have colons. And where notes of a run go to a terminal that is gone, or to a file on a full
disk, they are lost, and the run goes on.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from rich.console import Console as RichConsole


class Console(RichConsole):
    """rich's console without markup; tables go to stdout, notes and progress to stderr."""

    def __init__(
        self,
        *,
        stderr: bool = False,
        quiet: bool = False,
        width: int | None = None,
        soft_wrap: bool = False,
    ) -> None:
        """
        Args:
            stderr: Print to stderr, where what cannot be printed is left out.
            quiet: Print nothing.
            width: Columns; those of the terminal if not given.
            soft_wrap: Leave the breaking of long lines to the terminal.
        """
        super().__init__(
            file=_StandardError() if stderr else None,  # pyright: ignore[reportArgumentType]
            stderr=stderr,
            quiet=quiet,
            width=width,
            soft_wrap=soft_wrap,
            markup=False,
            emoji=False,
            highlight=False,
        )


class _StandardError:
    """`sys.stderr`, whichever that is just now; what cannot be written to it is left out."""

    @property
    def _stream(self) -> Any:
        # While a bar is shown, rich has a stream of its own in the place of sys.stderr.
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    def write(self, text: str) -> int:
        """Writes; characters that the stream's encoding lacks are written as escapes."""
        stream = self._stream
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            # A full disk; a closed stream; a signal's handler that prints while a line is printed;
            # no stderr at all.
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        with suppress(ValueError, AttributeError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        """The stream's descriptor."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding, by which rich chooses what a bar is drawn of."""
        return getattr(self._stream, "encoding", None) or "ascii"
