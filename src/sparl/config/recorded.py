"""Agents and methods of run folders whose code is not imported, only told of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class NotImported:
    """An agent or a method that a run folder names by a file or a module, as the folder tells it.

    Importing a module runs it. Whatever only tells of a run (`compare`, `inspect`, `report`) takes
    this in place of the class.
    """

    spec: str
    """`path/to/file.py:Class`, or `package.module:Class`."""
    name: str
    """What logs call it."""
    values: tuple[tuple[str, Any], ...]
    """Its options."""

    @classmethod
    def of(cls, recorded: dict[str, Any], label: str | None) -> NotImported:
        """What config.json has of it.

        Args:
            recorded: Its options, with its spec as `name`.
            label: What logs call it; older folders do not tell.
        """
        spec = recorded["name"]
        values = ((k, _hashable(v)) for k, v in recorded.items() if k != "name")
        return cls(spec, label or spec.rpartition(":")[2], tuple(values))


def options_of(config: Any) -> dict[str, Any]:
    """The options of a run, an agent or a method by name, imported or not."""
    if isinstance(config, NotImported):
        return dict(config.values)
    return {field.name: getattr(config, field.name) for field in fields(config)}


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple((name, _hashable(entry)) for name, entry in value.items())
    return value
