"""YAML files that people write: names and values, read as YAML 1.2 reads them.

PyYAML follows YAML 1.1, to which `1:8` is the number 68, `1e-3` is text and `no` is false. Here
numbers and truth values are those of YAML 1.2's core schema, and no name may come twice.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sparl.errors import BadFile

LARGEST = 2**20
"""Bytes of a file that are read at most."""
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
}
"""By tag how a plain scalar of it is written, and the characters that it may begin with."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars, and no name twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        made: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in made:
                problem = f"{key!r} comes twice" if key in made else f"{key!r} is no name"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            made[key] = self.construct_object(value_node, deep=True)
        return made


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would read as something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping)
for _tag, (_pattern, _first) in _SCALARS.items():
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
        )


def read(path: Path) -> dict[str, Any]:
    """The names and values in a file.

    Raises:
        BadFile: It is missing, or no YAML of names and values. The message says where.
    """
    try:
        content = path.read_bytes()
        if len(content) > LARGEST:
            raise BadFile(f"{path} cannot be read: it has {len(content)} bytes", file=path)
        found = yaml.load(content.decode(), Loader=_Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        why = getattr(error, "problem", None) or getattr(error, "strerror", None) or error
        raise BadFile(f"{path} cannot be read{where}: {why}", file=path) from error
    if not isinstance(found, dict):
        raise BadFile(f"{path} has no options: write a name and a value in each line", file=path)
    return found


def in_one_line(value: list[Any] | dict[str, Any]) -> str:
    """A list or a mapping as YAML in one line, which `read` takes back."""
    return yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, default_flow_style=True, width=10**6
    ).strip()
