"""Checks of options and arguments, which all refuse a bad value in the same words.

Every message names the option as Python spells it (`buffer_size`). The command line spells the same
option `--buffer-size` and shows the message as it is: the two differ only in the hyphen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from sparl.errors import BadValue


def at_least(bound: int, **values: int | float) -> None:
    """Checks that every value is finite and not below `bound`.

    Raises:
        BadValue: Names the first value that is not, and the bound.
    """
    _check(lambda value: _finite(value) and value >= bound, f"at least {bound}", values)


def positive(**values: int | float) -> None:
    """Checks that every value is finite and above 0.

    Raises:
        BadValue: Names the first value that is not.
    """
    _check(lambda value: _finite(value) and value > 0, "above 0", values)


def fractions(**values: int | float) -> None:
    """Checks that every value lies in [0, 1].

    Raises:
        BadValue: Names the first value that does not.
    """
    _check(lambda value: 0 <= value <= 1, "within 0 and 1", values)


def one_of(choices: Collection[str], **values: str) -> None:
    """Checks that every value is one of `choices`.

    Raises:
        BadValue: Names the first value that is not, and lists the choices.
    """
    *others, last = choices
    for name, value in values.items():
        if value not in choices:
            raise BadValue(f"{name} is {value!r}: choose {', '.join(others)} or {last}")


def _finite(value: int | float) -> bool:
    # A whole number may be larger than any float.
    return isinstance(value, int) or math.isfinite(value)


def _check(
    is_allowed: Callable[[int | float], bool], allowed: str, values: dict[str, int | float]
) -> None:
    """Raises `BadValue` for the first value that is not allowed."""
    for name, value in values.items():
        if not is_allowed(value):
            raise BadValue(f"{name} is {value}: it must be {allowed}")
