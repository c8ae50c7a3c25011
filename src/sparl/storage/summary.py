"""summary.json: the final figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from sparl.storage import files, schema
from sparl.storage.table import Mark

STEPS = "steps"
"""Of a run that ended because all its steps were made."""


class Evaluated(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An evaluation of the run."""

    step: int
    value: float = msgspec.field(name="return")
    """Its mean return."""


class SummaryFile(msgspec.Struct, frozen=True):
    """summary.json. Further figures are numbers, by names that only some runs have."""

    env: str
    seed: int
    steps: int
    final_return: float | None
    """Mean of the last third of all evaluations, of 10 at most; None if there were none."""
    best_return: float | None
    evals: tuple[Evaluated, ...]
    wall_seconds: float
    steps_per_second: float
    ended: str = STEPS
    """Why the run ended: `STEPS`, or the reason of what stopped it before."""
    tables: dict[str, Mark] = {}
    """How far the run's tables had come; empty in what sparl 0.1 wrote."""
    figures: dict[str, int | float | None] = {}
    """The others."""

    @classmethod
    def read(cls, path: Path) -> SummaryFile:
        """What a summary.json says.

        Raises:
            BadFile: It is missing, altered, or not as sparl writes it.
        """
        content = schema.opened(files.read_json(path), path)
        named = set(cls.__struct_fields__) - {"figures"}
        known = {name: value for name, value in content.items() if name in named}
        others = {name: value for name, value in content.items() if name not in named}
        figures = schema.convert(others, dict[str, int | float | None], path)
        return msgspec.structs.replace(schema.convert(known, cls, path), figures=figures)

    def figure(self, name: str) -> int | float | None:
        """A figure that only some summaries have."""
        return self.figures.get(name)

    def content(self) -> dict[str, Any]:
        """The figures as they are in the file, without what is said of its tables."""
        content = msgspec.to_builtins(self)
        del content["tables"], content["figures"]
        return content | {"evals": list(content["evals"])} | self.figures

    def is_whole(self, steps: int) -> bool:
        """Whether the run is at its end: it made so many steps, or something stopped it before."""
        return self.steps >= steps or self.ended != STEPS

    def numbers(self) -> dict[str, float]:
        """All figures that are numbers, by name."""
        content = self.content()
        return {name: float(v) for name, v in content.items() if isinstance(v, int | float)}
