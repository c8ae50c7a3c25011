"""What a file of Stable-Baselines3 says of the spaces of its environment, in readable text."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from sparl.errors import BadFile
from sparl.interop.trained_agent import FileSpaces
from sparl.validation import shown

LARGEST = 2**31 - 1
"""The largest whole number that is taken over."""
MOST_SWITCHES = 30
"""Numbers of an action of several choices."""


def read(data: dict[str, Any], path: Path) -> FileSpaces:
    """Shapes, bounds and choices, as far as the file has them.

    Raises:
        BadFile: Sizes that no space has.
    """
    observation, action = data["observation_space"], data["action_space"]
    shape = observation.get("_shape", observation.get("shape"))
    low, high = (numbers_in(action[name]) if name in action else None for name in ("low", "high"))
    found = FileSpaces(None, low, high, nvec=_several_choices(action, path))
    if not isinstance(shape, list):
        return found
    if not all(type(size) is int and 0 < size <= LARGEST for size in shape):
        raise bad(path, "observation_space._shape", shape, "sizes above 0")
    return found._replace(observation_shape=tuple(shape))


def is_discrete(data: dict[str, Any]) -> bool:
    """Whether an action is one choice, or several at once."""
    return not str(data["action_space"].get(":type:")).endswith(".box.Box'>")


def _several_choices(action: dict[str, Any], path: Path) -> tuple[int, ...] | None:
    """The choices of each number of an action of several; None for any other."""
    kind, sizes = str(action.get(":type:")), numbers_in(action.get("nvec"))
    if kind.endswith("MultiBinary'>"):
        count = action.get("n")
        if type(count) is not int or not 0 < count <= MOST_SWITCHES:
            raise bad(path, "action_space.n", count, f"a number from 1 to {MOST_SWITCHES}")
        return (2,) * count
    if not kind.endswith("MultiDiscrete'>"):
        return None
    whole = sizes is not None and all(s.is_integer() and 0 < s <= LARGEST for s in sizes)
    if sizes is None or not whole or len(sizes) > MOST_SWITCHES:
        raise bad(path, "action_space.nvec", action.get("nvec"), "sizes above 0")
    return tuple(map(int, sizes))


def bad(path: Path, field: str, value: Any, wanted: str) -> BadFile:
    """What is raised where an attribute is not what it should be."""
    return BadFile(
        f"{path} has {field} {shown(value)}, which should be {wanted}",
        file=path,
        field=field,
        value=value,
    )


def numbers_in(text: Any) -> tuple[float, ...] | None:
    """Gives the numbers of a list, or of an array as NumPy prints it.

    None where some are elided, or are no finite numbers.
    """
    try:
        numbers = tuple(map(float, re.sub(r"[\[\],]", " ", str(text)).split()))
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
