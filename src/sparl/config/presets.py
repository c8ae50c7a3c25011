"""Tuned options that come with sparl, a file for each environment: `sparl train --preset ENV`.

Such a file is one for `--config`. Its comment has what runs with it returned, and their controls.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from sparl.errors import BadValue

FOLDER = Path(__file__).parent / "tuned"


def names() -> list[str]:
    """The environments that have one."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def describe(name: str) -> str:
    """What a preset is: the first line of its comment."""
    return path_of(name).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def path_of(name: str) -> Path:
    """The file of a preset.

    Raises:
        BadValue: There is none of this name.
    """
    there = names()
    if name in there:
        return FOLDER / f"{name}.yaml"
    near = difflib.get_close_matches(name, there, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BadValue(
        f"preset is {name!r}, and there is none of that name.{hint} There are {', '.join(there)}. "
        "Options of your own go into a file for --config"
    )


def chosen(config: str | None, preset: str | None) -> str | None:
    """The file that --config or --preset names; None if neither is given.

    Raises:
        BadValue: Both are given; or there is no such preset.
    """
    if preset is None:
        return config
    if config is not None:
        raise BadValue(f"preset is {preset}, and config is {config}: give one of the two")
    return str(path_of(preset))
