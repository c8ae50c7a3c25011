"""Agents and methods by name: built in, from other packages, and from files.

A class is named in one of three ways:

- `td3`: an entry point of that name in the group `sparl.agents` or `sparl.methods`. sparl's own
  are in its pyproject.toml and registered in no other way.
- `path/to/file.py:Class`: a class in a Python file.
- `package.module:Class`: a class that can be imported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from sparl.errors import BadValue

Plugin = TypeVar("Plugin")
FROM_FILE = "sparl_plugin_"
"""How the names of modules begin that were loaded from a file."""


class Registry(Generic[Plugin]):
    """The classes of one kind, by name."""

    def __init__(self, kind: str, base: type[Plugin]) -> None:
        """
        Args:
            kind: What a class is, in messages: "agent" or "method". The group of entry points is
                `sparl.KINDs`.
            base: What every class must derive from.
        """
        self.kind, self.base = kind, base
        self._specs: dict[type[Plugin], str] = {}

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        for point in entry_points(group=f"sparl.{self.kind}s"):
            other = points.setdefault(point.name, point)
            if other.value != point.value:
                raise BadValue(
                    f"two packages have {self.kind} {point.name!r}: {other.value} and "
                    f"{point.value}. Uninstall one of them"
                )
        return points

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes that are registered: sparl's own first, then other packages'."""
        own = [name for name, point in self._points.items() if _is_own(point)]
        return (*own, *sorted(self._points.keys() - own))

    def find(self, spec: str) -> type[Plugin]:
        """The class of that name.

        Raises:
            BadValue: No such name, file, module or class; or a class that is no such plug-in.
        """
        if ":" in spec:
            kind = self._checked(_imported(spec, self.kind), spec)
            # A class of a package may be registered, too: then it goes by its name.
            if self._specs.get(kind) is None and self._registered(kind) is None:
                self._specs[kind] = _absolute(spec)
            return kind
        if spec not in self._points:
            raise BadValue(
                f"{self.kind} is {spec!r}: choose of {', '.join(self.names)}, or name a class: "
                "path/to/file.py:Class or package.module:Class"
            )
        return self._checked(self._points[spec].load(), spec)

    def spec_of(self, kind: type[Plugin]) -> str:
        """What `find` finds exactly this class by; a run folder records it.

        Raises:
            BadValue: A class that forgot its name, or that no other process could import.
        """
        self._checked(kind, kind.__qualname__)
        if kind in self._specs:
            return self._specs[kind]
        spec = self._registered(kind) or _spec_of(kind, self.kind)
        self._specs[kind] = spec
        return spec

    def _registered(self, kind: type[Plugin]) -> str | None:
        value = f"{kind.__module__}:{kind.__qualname__}"
        names = (name for name, point in self._points.items() if point.value == value)
        return next(names, None)

    def _checked(self, kind: Any, spec: str) -> type[Plugin]:
        if not (isinstance(kind, type) and issubclass(kind, self.base)):
            raise BadValue(
                f"{spec} is no {self.kind}: it must be a class that derives from "
                f"sparl.{self.kind}s.{self.base.__name__}"
            )
        # An inherited name would make logs and labels tell of another algorithm.
        if not vars(kind).get("name"):
            raise BadValue(
                f"{kind.__qualname__} has no name of its own: give the class an attribute "
                f'`name: ClassVar[str] = "…"`'
            )
        return kind


def _is_own(point: EntryPoint) -> bool:
    return point.value.startswith("sparl.")


def _imported(spec: str, kind: str) -> Any:
    """The class of `path/to/file.py:Class` or `package.module:Class`."""
    where, _, name = spec.rpartition(":")
    module = _module_of(Path(where)) if where.endswith(".py") else _import(where, spec, kind)
    found = getattr(module, name, None)
    if found is None:
        raise BadValue(f"{kind} is {spec!r}: {where} has no class {name}")
    return found


def _import(module: str, spec: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise BadValue(
            f"{kind} is {spec!r}: there is no module {error.name}. A file is named with its "
            "ending: path/to/file.py:Class"
        ) from error


def _module_of(path: Path) -> ModuleType:
    """The module that a Python file is; the same one whenever the file is named again."""
    path = path.expanduser().absolute()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    if not path.is_file():
        raise BadValue(f"{path} does not exist: name a Python file")
    # Two files of the same name are two modules.
    name = f"{FROM_FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _absolute(spec: str) -> str:
    """The same with an absolute path: a run may be resumed from another folder."""
    where, _, name = spec.rpartition(":")
    return f"{Path(where).expanduser().absolute()}:{name}" if where.endswith(".py") else spec


def _spec_of(kind: type, what: str) -> str:
    """How another process finds a class that was handed over in Python."""
    module = sys.modules.get(kind.__module__)
    path = getattr(module, "__file__", None)
    if "." in kind.__qualname__ or path is None:
        raise BadValue(
            f"the {what} {kind.__qualname__} cannot be found again from a file: define it at the "
            "top level of a Python file, so that the run can be resumed"
        )
    spec = getattr(module, "__spec__", None)
    if spec is None or kind.__module__.startswith(FROM_FILE):
        return f"{Path(path).absolute()}:{kind.__qualname__}"
    return f"{kind.__module__}:{kind.__qualname__}"
