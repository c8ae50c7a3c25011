"""Options out of their range, told in the same words everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from sparl.errors import BadValue


def at_least(bound: int, **values: int | float) -> None:
    """Raises `BadValue` naming the first value below `bound`, or not finite."""
    _refuse(lambda value: math.isfinite(value) and value >= bound, f"at least {bound}", values)


def positive(**values: int | float) -> None:
    """Raises `BadValue` naming the first value that is not above 0, or not finite."""
    _refuse(lambda value: math.isfinite(value) and value > 0, "above 0", values)


def fractions(**values: int | float) -> None:
    """Raises `BadValue` naming the first value outside [0, 1]."""
    _refuse(lambda value: 0 <= value <= 1, "within 0 and 1", values)


def one_of(choices: Collection[str], **values: str) -> None:
    """Raises `BadValue` naming the first value that is none of `choices`."""
    *most, last = choices
    for name, value in values.items():
        if value not in choices:
            raise BadValue(f"{name} is {value!r}: choose {', '.join(most)} or {last}")


def _refuse(
    fits: Callable[[int | float], bool], bound: str, values: dict[str, int | float]
) -> None:
    for name, value in values.items():
        if not fits(value):
            raise BadValue(f"{name} is {value}: it must be {bound}")
