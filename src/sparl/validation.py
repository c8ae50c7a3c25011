"""Checks of options and arguments, which all refuse a bad value in the same words.

Every message names the option as Python spells it (`buffer_size`). The command line spells the same
option `--buffer-size` and shows the message as it is: the two differ only in the hyphen.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from sparl.errors import BadValue

LARGEST = 2**63 - 1
"""The largest whole number that an option may be."""
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    type(None): "None",
    Any: "anything",
}


class Options:
    """A dataclass whose fields are options: they are checked, and run folders keep them."""

    def __post_init__(self) -> None:
        kinds(self)

    @classmethod
    def upgraded_options(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """The options that a run folder has recorded, as they are today.

        One that came later has there the value that makes what was made before.
        """
        return recorded


def kinds(config: Any) -> None:
    """Checks that every field of a dataclass is of the kind that its annotation says.

    Numbers of NumPy become Python's, and lists become tuples, where the annotation says so. Fields
    that are annotated with what no file could hold are left alone.

    Args:
        config: The instance; a frozen one is changed, too.

    Raises:
        BadValue: Names the first field of another kind, and the kind that it must be. Numbers must
            be finite, and whole numbers must fit into 64 bits.
    """
    values = {name: getattr(config, name) for name in _kinds_of(type(config))}
    for name, value in converted(type(config), values).items():
        object.__setattr__(config, name, value)


def converted(dataclass: type, values: dict[str, Any]) -> dict[str, Any]:
    """Values for fields of a dataclass, each of the kind that its annotation says.

    Args:
        values: By name; what the class cannot check is given back as it is.

    Raises:
        BadValue: As `kinds`.
    """
    kinds = _kinds_of(dataclass)
    return {n: _converted(n, v, kinds[n]) if n in kinds else v for n, v in values.items()}


def _converted(name: str, given: Any, kind: Any) -> Any:
    value = _plain(given)
    if get_origin(kind) is Literal:
        one_of(get_args(kind), **{name: value})
        return given
    try:
        made = msgspec.convert(value, kind, from_attributes=True)
    except (msgspec.ValidationError, UnicodeError) as error:  # half a surrogate is no text
        raise BadValue(f"{name} is {shown(given)}: it must be {_describe(kind)}") from error
    for number in _numbers(made):
        if isinstance(number, float) and not math.isfinite(number):
            raise BadValue(f"{name} is {given}: it must be finite")
        if isinstance(number, int) and not -LARGEST <= number <= LARGEST:
            raise BadValue(f"{name} is {shown(number)}: it must fit into 64 bits")
    return made


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


def one_of(choices: Collection[str], **values: Any) -> None:
    """Checks that every value is one of `choices`.

    Raises:
        BadValue: Names the first value that is not, and lists the choices.
    """
    *others, last = choices
    for name, value in values.items():
        if not isinstance(value, str) or value not in choices:
            raise BadValue(f"{name} is {value!r}: choose {', '.join(others)} or {last}")


def shown(value: Any) -> str:
    """A value as messages show it: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # of more digits than Python prints, or of an object of another's class
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else "?"
    return text if len(text) <= 80 else f"{text[:60]}…{text[-10:]}"


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


@cache
def _kinds_of(dataclass: type) -> dict[str, Any]:
    """The annotations of the fields that can be checked."""
    try:
        annotations = get_type_hints(dataclass)
    except Exception:  # A plug-in's annotations may name what is not there while it runs.
        return {}
    names = [field.name for field in dataclasses.fields(dataclass)]
    checked = {name: annotations[name] for name in names if _can_be_checked(annotations[name])}
    return {name: kind for name, kind in checked.items() if kind is not Any}


def _can_be_checked(kind: Any) -> bool:
    """Whether the kind is made of numbers, text, None, and tuples, dictionaries and dataclasses."""
    if get_origin(kind) in (Literal, tuple, dict, Union, types.UnionType):
        return get_origin(kind) is Literal or all(
            argument is ... or _can_be_checked(argument) for argument in get_args(kind)
        )
    return kind in _WORDS or dataclasses.is_dataclass(kind)


def _describe(kind: Any) -> str:
    """A kind in words."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_describe, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        words = [_describe(argument) for argument in get_args(kind) if argument is not ...]
        return f"a tuple, each of it {' or '.join(dict.fromkeys(words))}"
    if get_origin(kind) is dict:
        return f"a dictionary of {_describe(get_args(kind)[1])} by text"
    return _WORDS.get(kind) or f"a {kind.__name__}"


def _plain(value: Any) -> Any:
    """The value with Python's numbers in place of NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _numbers(value: Any) -> Iterator[int | float]:
    """All numbers in a value."""
    if isinstance(value, tuple):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, int | float):
        yield value
