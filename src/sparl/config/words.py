"""Words of the command line for arguments by name: `key=value …`, and wrappers with them."""

from __future__ import annotations

import json
from typing import Any

from tyro.constructors import PrimitiveConstructorSpec

from sparl.envs import WrapperSpec
from sparl.errors import BadValue


def kwargs_of(words: list[str], option: str = "env_kwargs") -> dict[str, Any]:
    """Arguments by name from `key=value` each; a value is JSON, or else text as it is.

    Raises:
        BadValue: A word without a name, or a name that comes twice.
    """
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise BadValue(f"{option} has {word!r}: write key=value, for example gravity=9.8")
        if name in kwargs:
            raise BadValue(f"{option} has {name} twice: give it once")
        kwargs[name] = _value(value)
    return kwargs


def words_of(kwargs: dict[str, Any]) -> list[str]:
    """The words from which `kwargs_of` makes the same arguments."""
    return [f"{name}={_spelled(value)}" for name, value in kwargs.items()]


def wrappers_of(words: list[str]) -> tuple[WrapperSpec, ...]:
    """Wrappers from `module:Wrapper key=value … module:Other …`.

    Raises:
        BadValue: As `kwargs_of`, or where arguments come before the first wrapper.
    """
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        name = word.partition("=")[0]
        if "=" in word and name.isidentifier():
            if not groups:
                raise BadValue(f"wrappers has {word!r} before any wrapper: name that first")
            groups[-1][1].append(word)
        else:
            groups.append((word, []))
    return tuple(WrapperSpec(name, kwargs_of(own, "wrappers")) for name, own in groups)


def wrapper_words(wrappers: tuple[WrapperSpec, ...]) -> list[str]:
    """The words from which `wrappers_of` makes the same wrappers."""
    return [word for w in wrappers for word in (w.name, *words_of(w.kwargs))]


def recordable(env_kwargs: dict[str, Any], wrappers: tuple[WrapperSpec, ...]) -> dict[str, Any]:
    """Gives `env_kwargs` as a run folder records them, with lists in place of tuples.

    Raises:
        BadValue: One of them, or an argument of a wrapper, is no JSON.
    """
    given = {"env_kwargs": env_kwargs} | {f"the wrapper {w.name}": w.kwargs for w in wrappers}
    for what, kwargs in given.items():
        for name, value in kwargs.items():
            try:
                if json.loads(json.dumps(value, allow_nan=False)) != _lists(value):
                    raise ValueError("keys of dicts are texts")
            except (TypeError, ValueError) as error:
                raise BadValue(
                    f"{what} has {name}={value!r}, which no run folder can record: give numbers, "
                    "texts, lists and dicts, or hand over a function that makes the environment "
                    "with it"
                ) from error
    return _lists(env_kwargs)


def _lists(value: Any) -> Any:
    """The same with lists in place of tuples."""
    if isinstance(value, dict):
        return {name: _lists(entry) for name, entry in value.items()}
    return [_lists(entry) for entry in value] if isinstance(value, tuple | list) else value


def _value(text: str) -> Any:
    if text in PYTHONS:
        return PYTHONS[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _spelled(value: Any) -> str:
    """A text that is no JSON as it is; everything else as JSON."""
    if isinstance(value, str) and _value(value) == value:
        return value
    return json.dumps(value)


PYTHONS = {"True": True, "False": False, "None": None}
"""Words of Python that JSON spells otherwise."""
KWARGS = PrimitiveConstructorSpec(
    nargs="*",
    metavar="KEY=VALUE",
    instance_from_str=kwargs_of,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=words_of,
)
WRAPPERS = PrimitiveConstructorSpec(
    nargs="*",
    metavar="WRAPPER [KEY=VALUE]",
    instance_from_str=wrappers_of,
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=wrapper_words,
)
