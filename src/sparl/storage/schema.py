"""Strict JSON: what a file may say is checked against the class that is made of it.

The schema of a file is its class: a `msgspec.Struct`, or one of sparl's dataclasses (`RunConfig`,
an agent). So a new field is declared in one place. A field that is missing takes its default, which
is how older files are read; without a default it is named, as is a field that the class does not
have.

`sealed` puts a digest of the content beside it. A digest finds damage, not attackers: whoever can
change a file can also compute another digest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec

from sparl.errors import BadFile
from sparl.validation import LARGEST, shown

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""A sha256."""
DEEPEST = 32
"""Lists and objects within each other."""
DIGITS = 40
"""Of a whole number; the state of a random generator has numbers of 128 bits."""
SEAL = "digest"
"""The field that `sealed` adds."""
EDITED = 'If you edited it yourself, take its line "digest" out. Otherwise restore it from a copy'


def parse(content: bytes, file: Path, *, finite: bool = True) -> Any:
    """The content of a JSON file as dictionaries, lists, text and numbers.

    Args:
        content: The bytes.
        file: What messages call it.
        finite: Refuse NaN and Infinity, which are no JSON, but which Python writes.

    Raises:
        BadFile: It is no JSON in UTF-8; it has a key twice, a number beyond float64 or of more
            than `DIGITS` digits, NUL bytes or half a surrogate, or is nested more than `DEEPEST`
            levels deep.
    """
    strict = _Strict(file, finite)
    try:
        text = content.decode()
        made = json.loads(
            text,
            object_pairs_hook=strict.pairs,
            parse_int=strict.whole,
            parse_float=strict.number,
            parse_constant=strict.constant,
        )
    except (ValueError, RecursionError) as error:
        problem = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise BadFile(f"{file} cannot be read: {problem}", file=file) from error
    for value in _walk(made, file):
        # Neither can be written again, and no path may have them.
        if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
            strict.refuse(f"it has the text {shown(value)}", value)
    return made


@dataclasses.dataclass(frozen=True)
class _Strict:
    """What `json` calls for the objects and numbers of a file; see `parse`."""

    file: Path
    finite: bool

    def pairs(self, items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) < len(items):
            ((twice, _),) = Counter(name for name, _ in items).most_common(1)
            self.refuse(f"it has the field {shown(twice)} twice", twice)
        return made

    def whole(self, text: str) -> int:
        if len(text) > DIGITS:
            self.refuse(f"it has the number {text[:20]}…", text)
        return int(text)

    def number(self, text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            self.refuse(f"it has the number {shown(text)}", text)
        return value

    def constant(self, text: str) -> float:
        if self.finite:
            self.refuse(f"it has the number {text}", text)
        return float(text)

    def refuse(self, problem: str, value: Any = None) -> NoReturn:
        raise BadFile(f"{self.file} cannot be read: {problem}", file=self.file, value=value)


def convert(content: Any, kind: Any, file: Path, at: str = "", big: str = "") -> Any:
    """What a part of a file says, as an instance of its class.

    Args:
        content: As `parse` gives it.
        kind: The class: a dataclass, a `msgspec.Struct`, or whatever msgspec knows.
        file: What messages call it.
        at: Where in the file the part is.
        big: The only field that may have whole numbers of more than 64 bits.

    Raises:
        BadFile: Names the field that is missing, unknown, of another kind or out of bounds.
    """
    kept = {k: v for k, v in content.items() if k != big} if isinstance(content, dict) else content
    for value in _walk(kept, file):
        if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            raise BadFile(f"{file}: {shown(value)} is out of bounds", file=file, value=value)
    try:
        made = msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        path = path.rstrip("`")
        of_field = re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", message)
        if of_field is None:
            _refuse(file, _joined(at, path), _at(content, path), message)
        named = _joined(at, f"{path}.{of_field[2]}")
        if of_field[1] == "missing required":
            _refuse(file, named, None, "it is missing")
        _refuse_unknown(file, named)
    for path in _unknown(content, made, ""):
        _refuse_unknown(file, _joined(at, path))
    return made


def make(kind: type, fields: dict[str, Any], file: Path, at: str) -> Any:
    """A dataclass, possibly a plug-in's, from the fields that a file has of it.

    A plug-in may annotate a field with what no schema can check; such a class gets its fields as
    they are, with tuples in place of lists.

    Raises:
        BadFile: As `convert`, or the class refuses the fields.
    """
    try:
        return convert(fields, kind, file, at)
    except BadFile:
        raise
    except TypeError:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    except Exception as error:  # A plug-in's own check may raise anything.
        _refuse(file, at, None, f"{kind.__name__} refuses it: {error!r}")
    try:
        return kind(**values)
    except Exception as error:
        _refuse(file, at, None, f"{kind.__name__} refuses it: {error!r}")


def digest(content: Any) -> str:
    """The sha256 of JSON, whatever the order of its keys and its blanks."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """The content with its digest beside it."""
    # As it will be read: tuples are lists then.
    return content | {SEAL: digest(content)}


def opened(content: Any, file: Path) -> dict[str, Any]:
    """The content that was `sealed`, without its digest; older files have none.

    Raises:
        BadFile: The digest is of another content, or there is no JSON object.
    """
    if not isinstance(content, dict):
        raise BadFile(
            f"{file} is not as sparl wrote it: it is no JSON object", file=file, value=content
        )
    rest = {name: value for name, value in content.items() if name != SEAL}
    if SEAL in content and content[SEAL] != digest(rest):
        raise BadFile(
            f"{file} is altered: its digest is not that of its content",
            file=file,
            field=SEAL,
            value=content[SEAL],
            way_out=EDITED,
        )
    return rest


def _refuse_unknown(file: Path, field: str) -> NoReturn:
    raise BadFile(
        f"{file} is not as sparl wrote it: {field} is no field that this sparl knows",
        file=file,
        field=field,
        way_out="Take it out, or use the version of sparl that wrote it",
    )


def _refuse(file: Path, field: str, value: Any, problem: str) -> NoReturn:
    where = f"{field} is {shown(value)}: " if value is not None else f"{field}: " if field else ""
    raise BadFile(
        f"{file} is not as sparl wrote it: {where}{problem}", file=file, field=field, value=value
    )


def _walk(value: Any, file: Path, depth: int = 0) -> Iterator[Any]:
    """All keys and values, from the outside to the inside."""
    if depth > DEEPEST:
        raise BadFile(f"{file} cannot be read: it is nested too deep", file=file)
    yield value
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _walk(entry, file, depth + 1)


def _joined(at: str, path: str) -> str:
    """The name of a field: `run` and `$.inputs[0]` are `run.inputs[0]`."""
    inside = path.removeprefix("$").removeprefix(".")
    return f"{at}.{inside}" if at and inside and inside[0] != "[" else at + inside


def _at(content: Any, path: str) -> Any:
    """The value at a path of msgspec, `$.layers[0].shape`; None where it cannot be found."""
    try:
        for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
            content = content[name] if name else content[int(index)]
    except (KeyError, IndexError, TypeError):
        return None
    return None if isinstance(content, dict | list) and len(str(content)) > 200 else content


def _unknown(content: Any, made: Any, path: str) -> Iterator[str]:
    """The paths of fields that the dataclasses in `made` do not have."""
    if isinstance(content, dict):
        names = _fields(made)
        for name, value in content.items():
            inside = f"{path}.{name}" if path else name
            if names is not None and dataclasses.is_dataclass(made) and name not in names:
                yield inside
            elif names is not None and name in names:
                yield from _unknown(value, getattr(made, name), inside)
            elif isinstance(made, dict) and name in made:
                yield from _unknown(value, made[name], inside)
    elif isinstance(content, list) and isinstance(made, list | tuple):
        for i, (value, entry) in enumerate(zip(content, made, strict=False)):
            yield from _unknown(value, entry, f"{path}[{i}]")


def _fields(made: Any) -> tuple[str, ...] | None:
    """The names of the fields of a dataclass or Struct; None for anything else."""
    if dataclasses.is_dataclass(made):
        return tuple(field.name for field in dataclasses.fields(made))
    return getattr(made, "__struct_fields__", None)
