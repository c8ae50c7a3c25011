"""A picture or table, and the digest in it of what it was made from.

The digest is SHA-256 over the data files, over the source of the module that makes the output, and
over the modules that all of these share. So changed data make an output stale, and so does any
change of the code that draws it, a comment too: drawing again takes seconds, and nobody has to
remember a version number. A PNG carries its digest as the text entry `sparl-data`, Markdown as a
comment in its last line; there it is over the text, too, so that a table changed by hand is stale.
A CSV file has no place for a digest: it is made anew and compared.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from drawing import data, style

KEY = "sparl-data"
SHARED = (Path(data.__file__), Path(style.__file__))


@dataclass(frozen=True)
class Output:
    """One file that is made from others."""

    path: Path
    """A PNG, Markdown or CSV file."""
    data: tuple[Path, ...]
    """What it is made from. Their names differ."""
    make: Callable[[dict[str, Path]], Figure | str]
    """Takes the data files by name; gives a figure for a PNG, else the text."""

    def missing(self) -> list[Path]:
        """The data files that are not there."""
        return [path for path in self.data if not path.exists()]

    def digest(self, text: str = "") -> str:
        """Of the data, the code and, for Markdown, the text in front of the digest."""
        code = (Path(inspect.getfile(self.make)), *SHARED)
        found = hashlib.sha256("/".join(self.path.parts[-3:]).encode())  # titles name the folders
        for path in (*self.data, *code):
            found.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        found.update(text.encode())
        return found.hexdigest()

    def signed(self, text: str) -> str:
        """Markdown with its digest."""
        return f"{text}\n<!-- {KEY}: {self.digest(text)} -->\n"

    def stale(self) -> bool:
        """Whether the file is absent, or made from other data or by other code than today's."""
        if not self.path.exists():
            return True
        if self.path.suffix == ".png":
            with Image.open(self.path) as image:
                return image.info.get(KEY) != self.digest()
        text = self.path.read_text()
        if self.path.suffix == ".md":
            return text != self.signed(text.rpartition("\n<!--")[0])
        return text != self.made()

    def made(self) -> Figure | str:
        """The figure or text of today's data."""
        return self.make({path.name: path for path in self.data})

    def write(self) -> None:
        """Makes the file."""
        made = self.made()
        if isinstance(made, Figure):
            made.savefig(self.path, metadata={KEY: self.digest()})
        else:
            self.path.write_text(self.signed(made) if self.path.suffix == ".md" else made)
