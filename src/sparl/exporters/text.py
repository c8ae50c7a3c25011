"""C text: how numbers are written, and the one place where they go into templates.

Generated code is compiled, and may be loaded by this process. A policy comes from a file. So
`fill` takes nothing but integers and `Source`, which is text that this package wrote itself, and
`number` writes nothing but finite numbers. Of what a policy's files say in words, only names of
entries get there, as `identifiers` writes them; `sparl.exporters.checks` refuses the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadValue

C_TYPES = {
    "f4": "float",
    "u1": "uint8_t",
    "i1": "int8_t",
    "u2": "uint16_t",
    "u4": "uint32_t",
    "i4": "int32_t",
}
"""C types by NumPy's codes."""
LONGEST_NAME = 36
"""Characters of a name that are kept. A compiler may tell macros apart by their first 63 alone, and
a prefix and a number are added."""


class Source(str):
    """C text that this package wrote, from its templates and from checked numbers."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """A constant array of the exported code; `str` gives its definition."""

    name: str
    values: NDArray[Any]

    @property
    def ctype(self) -> str:
        """The C type of its numbers."""
        return C_TYPES[self.values.dtype.str[1:]]

    def __str__(self) -> str:
        size = self.values.size
        return f"static const {self.ctype} {self.name}[{size}] = {{\n{_rows(self.values)}\n}};\n"


def template_text(name: str) -> str:
    """Gives the text of a file in `templates`, by its path there."""
    return resources.files("sparl.exporters").joinpath("templates", *name.split("/")).read_text()


def fill(name: str, words: Mapping[str, int | Source]) -> Source:
    """Gives a file of `templates` with its $words replaced.

    Args:
        name: The file's path in `templates`.
        words: An integer, or text that this package wrote, for each word.

    Raises:
        BadValue: A word stands for anything else.
    """
    written = {
        word: value if isinstance(value, Source) else number(value, word)
        for word, value in words.items()
    }
    return Source(Template(template_text(name)).substitute(written))


def number(value: Any, name: str = "a constant") -> Source:
    """Writes a number in C: integers as they are, float32 in nine digits, which tell all apart.

    Args:
        value: An integer, or a NumPy float.
        name: What messages call it.

    Raises:
        BadValue: It is neither, or NaN or infinite.
    """
    if isinstance(value, np.floating) and np.isfinite(value):
        text = f"{value:.9g}"
        return Source(f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f")
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return Source(int(value))
    raise BadValue(f"{name} of the policy is {value!r}, which cannot be written as a number in C")


def number_lists(rows: NDArray[Any]) -> Source:
    """Writes each row as a list in braces."""
    return Source("\n".join(f"    {{{', '.join(map(number, row))}}}," for row in rows))


def identifiers(names: Sequence[str], taken: Sequence[str] = ()) -> list[Source]:
    """Writes names of the user as ends of C identifiers, each different from the others.

    Letters become capitals, and all but A to Z and digits becomes underscores: `robot.angle` gives
    `ROBOT_ANGLE`.

    Args:
        names: Any text.
        taken: Identifiers that none of them may become.
    """
    used, counts, found = set(taken), Counter[str](), []
    for name in names:
        kept = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")[:LONGEST_NAME].strip("_")
        identifier = kept = kept or "ENTRY"
        while identifier in used:
            counts[kept] += 1
            identifier = f"{kept}_{counts[kept] + 1}"
        used.add(identifier)
        found.append(Source(identifier))
    return found


def _rows(values: NDArray[Any]) -> str:
    """Writes floats eight to a line, integers sixteen."""
    flat, per_line = values.reshape(-1), 8 if values.dtype.kind == "f" else 16
    lines: Sequence[NDArray[Any]] = [flat[i : i + per_line] for i in range(0, flat.size, per_line)]
    return "\n".join("    " + ", ".join(map(number, line)) + "," for line in lines)


def tidied(text: str) -> str:
    """Removes blanks at ends of lines, and all but one of several empty lines."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).rstrip() + "\n"
