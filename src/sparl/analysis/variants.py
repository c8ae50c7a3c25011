"""Variants: what runs are, but for their seeds. How they are called, and in what they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparl import agents
from sparl.config import RunConfig
from sparl.methods import Method


@dataclass(frozen=True)
class Setting:
    """All that decides a run, but for its seed."""

    run: RunConfig
    agent: Any
    method: Method

    @classmethod
    def of(cls, run: RunConfig, agent: Any, method: Method) -> Setting:
        begun_from = "another run" if run.begun_from else ""
        return cls(dataclasses.replace(run, seed=0, begun_from=begun_from), agent, method)


def labels(settings: Sequence[Setting]) -> list[str]:
    """A short name for each: its method, and the options in which the settings differ.

    An option of a method is told where settings of that method differ in it. One of the agent or
    of the run is told where any differ in it, unless it has its default. Different settings get
    different labels.
    """
    names = [agents.name_of(setting.agent) for setting in settings]
    shared = differing([_common(setting) for setting in settings])
    found = []
    for name, setting in zip(names, settings, strict=True):
        alike = [other for other in settings if other.method.name == setting.method.name]
        own = differing([_options(other.method) for other in alike])
        words = [name] if len(set(names)) > 1 else []
        words.append(setting.method.name)
        words += [
            _told(key, value) for key, value in _options(setting.method).items() if key in own
        ]
        default = _defaults(setting.agent) | _defaults(setting.run)
        words += [
            _told(key, value)
            for key, value in _common(setting).items()
            if key in shared and not (key in default and default[key] == value)
        ]
        found.append(" ".join(words))
    return found


def also_differ(settings: Sequence[Setting]) -> list[str]:
    """What may explain a difference besides method and widths: `learning_rate 0.001 / 0.0003`."""
    values = differing([_common(setting) for setting in settings])
    return [
        f"{key} {' / '.join(_plain(value) for value in found)}"
        for key, found in values.items()
        if key not in ("hidden", "critic_hidden")
    ]


def differing(options: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The options that have several values among those who have them, and these values."""
    found: dict[str, list[Any]] = {}
    for of_one in options:
        for key, value in of_one.items():
            values = found.setdefault(key, [])
            if value not in values:
                values.append(value)
    return {key: values for key, values in found.items() if len(values) > 1}


def _common(setting: Setting) -> dict[str, Any]:
    return _options(setting.agent) | _options(setting.run)


def _options(config: Any) -> dict[str, Any]:
    """The fields by name; N, M and V are one option, as on the command line."""
    found = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    if hasattr(config, "pattern"):
        found = {k: v for k, v in found.items() if k not in ("n", "m", "v")}
        found = {"pattern": str(config.pattern)} | found
    return found


def _defaults(config: Any) -> dict[str, Any]:
    return {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(config)
    }


def _told(key: str, value: Any) -> str:
    return f"{key}={_plain(value)}"


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
