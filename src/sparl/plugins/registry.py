"""Agents and methods by name: built in, from other packages, and from files.

A class is named in one of three ways:

- `td3`: an entry point of that name in the group `sparl.agents` or `sparl.methods`. sparl's own
  are in its pyproject.toml and registered in no other way.
- `path/to/file.py:Class`: a class in a Python file.
- `package.module:Class`: a class that can be imported.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from sparl.errors import BadValue
from sparl.plugins.importing import absolute, blaming, imported, spec_of

Plugin = TypeVar("Plugin")


class Registry(Generic[Plugin]):
    """The classes of one kind, by name."""

    def __init__(
        self, kind: str, base: type[Plugin], unlisted: Mapping[str, str] | None = None
    ) -> None:
        """
        Args:
            kind: What a class is, in messages: "agent" or "method". The group of entry points is
                `sparl.KINDs`.
            base: What every class must derive from.
            unlisted: Places of sparl's own classes by names that `find` knows and no list has.
        """
        self.kind, self.base = kind, base
        self._unlisted = dict(unlisted or {})
        self._specs: dict[type[Plugin], str] = {}

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        """The entry points of each name; several only where packages are at odds."""
        points: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=f"sparl.{self.kind}s"):
            same = points.setdefault(point.name, [])
            if point.value not in [other.value for other in same]:
                same.append(point)
        return points

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes that are registered: sparl's own first, then other packages'."""
        own = [name for name, points in self._points.items() if any(map(_is_own, points))]
        return (*own, *sorted(self._points.keys() - own))

    def usable(self) -> dict[str, type[Plugin]]:
        """The registered classes by name, without those that `find` refuses.

        A package that is broken must not take the others along.
        """
        found: dict[str, type[Plugin]] = {}
        for name in self.names:
            try:
                found[name] = self.find(name)
            except BadValue:
                continue
        return found

    def describe(self, name: str) -> str:
        """A registered class's docstring; of one that cannot be used, why."""
        try:
            kind = self.find(name)
        except BadValue as error:
            return f"cannot be used: {error}"
        text = (kind.__doc__ or "").strip()
        # A dataclass without a docstring has its signature there.
        return "no description" if not text or text.startswith(f"{kind.__name__}(") else text

    def find(self, spec: str) -> type[Plugin]:
        """The class of that name.

        Raises:
            BadValue: No such name, file, module or class; or a class that is no such plug-in.
        """
        if ":" in spec:
            kind = self._checked(imported(spec, self.kind), spec)
            # A class of a package may be registered, too: then it goes by its name.
            if self._specs.get(kind) is None and self._registered(kind) is None:
                self._specs[kind] = absolute(spec)
            return kind
        if spec in self._unlisted:
            return self._checked(imported(self._unlisted[spec], self.kind), spec)
        points = self._points.get(spec)
        if points is None:
            near = difflib.get_close_matches(spec, self.names, 1)
            raise BadValue(
                f"{self.kind} is {spec!r}: choose of {', '.join(self.names)}, or name a class: "
                "path/to/file.py:Class or package.module:Class"
                + (f". Did you mean {near[0]!r}?" if near else "")
            )
        if len(points) > 1:
            raise BadValue(
                f"several packages have {self.kind} {spec!r}: "
                f"{' and '.join(map(_origin, points))}. Uninstall all but one of them"
            )
        if _is_own(points[0]):
            return self._checked(points[0].load(), spec)
        with blaming(f"{self.kind} {spec!r} of {_origin(points[0])} cannot be loaded"):
            kind = points[0].load()
        return self._checked(kind, spec)

    def spec_of(self, kind: type[Plugin]) -> str:
        """What `find` finds exactly this class by; a run folder records it.

        Raises:
            BadValue: A class that forgot its name, or that no other process could import.
        """
        self._checked(kind, kind.__qualname__)
        if kind in self._specs:
            return self._specs[kind]
        spec = self._registered(kind) or spec_of(kind, self.kind)
        self._specs[kind] = spec
        return spec

    def _registered(self, kind: type[Plugin]) -> str | None:
        value = f"{kind.__module__}:{kind.__qualname__}"
        points = self._points.items()
        for name, place in self._unlisted.items():
            if place == value:
                return name
        return next((name for name, found in points if [p.value for p in found] == [value]), None)

    def _checked(self, kind: Any, spec: str) -> type[Plugin]:
        if not (isinstance(kind, type) and issubclass(kind, self.base)):
            raise BadValue(
                f"{spec} is no {self.kind}: it must be a class that derives from "
                f"sparl.{self.kind}s.{self.base.__name__}"
            )
        # An inherited name would make logs and labels tell of another algorithm.
        if not vars(kind).get("name"):
            raise BadValue(
                f"{spec} has no name of its own: give the class an attribute "
                f'`name: ClassVar[str] = "…"`'
            )
        annotations = inspect.get_annotations(kind)
        options = [name for name, of in annotations.items() if "ClassVar" not in str(of)]
        if options and "__dataclass_fields__" not in vars(kind):
            raise BadValue(
                f"{spec} is no dataclass of its own, so {', '.join(options)} would be "
                "no options: write @dataclass(frozen=True) above it"
            )
        missing = _missing(kind, self.base)
        if missing:
            raise BadValue(
                f"{spec} lacks {', '.join(missing)}: "
                f"sparl.{self.kind}s.{self.base.__name__} says what each is"
            )
        return kind


def _is_own(point: EntryPoint) -> bool:
    return point.value.startswith("sparl.")


def _origin(point: EntryPoint) -> str:
    """The package of an entry point, and what it names."""
    return point.value if point.dist is None else f"{point.dist.name} ({point.value})"


def _missing(kind: type, base: type) -> list[str]:
    """What `base` leaves to its plug-ins, and this one has not."""
    attributes = [n for n, of in inspect.get_annotations(base).items() if "ClassVar" in str(of)]
    missing = [name for name in attributes if not hasattr(kind, name)]
    return [*missing, *sorted(getattr(kind, "__abstractmethods__", ()))]
