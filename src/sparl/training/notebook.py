"""A line of text in a notebook that is written anew in its place."""

from __future__ import annotations

import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this code runs in a notebook's kernel, which shows more than text."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookLine:
    """One line below the cell that runs."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Shows a text in place of the one before."""
        # Not imported with the module: it is there in notebooks alone.
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        content = {"text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
