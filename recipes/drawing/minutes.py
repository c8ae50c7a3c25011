"""Returns after equal times of training, and how long a return takes, by measured speeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drawing import style
from drawing.data import CURVES, SPEEDS, Rows, final_return, recorded, speeds, variants
from drawing.output import Output

MINUTES = (1, 2, 5, 10, 20)
SHARE = 0.2
"""Share of a time, its last, over whose evaluations the return after it is the mean."""
REACHED = 0.9
"""Share of the dense agent's final return that is to be reached."""
DENSE = "dense"


def outputs(folder: Path) -> list[Output]:
    """Of the folder of a study whose speeds were measured."""
    return [Output(folder / "minutes.md", (folder / CURVES, folder / SPEEDS), table)]


def table(files: dict[str, Path]) -> str:
    """A row for each variant: the mean over its seeds after so many minutes, where all went on."""
    curves, measured = recorded(files[CURVES]), speeds(files[SPEEDS])
    finals = [final_return(curve) for (name, _), curve in curves.items() if name == DENSE]
    bar = REACHED * float(np.mean(finals)) if finals else None
    lines = []
    for name in variants(curves):
        if name not in measured:
            continue
        runs = [curve for (own, _), curve in curves.items() if own == name]
        after = (
            _mean([return_after(60 * m, run, measured[name]) for run in runs]) for m in MINUTES
        )
        line = [name, f"{measured[name]:,.0f}", *after]
        if bar is not None:
            took = (_seconds_to(bar, run, measured[name]) for run in runs)
            line.append(", ".join("never" if s is None else f"{s:.0f}" for s in took))
        lines.append(line)
    to = () if bar is None else (f"seconds to {bar:,.0f}",)
    return style.table(("variant", "steps/s", *(f"{m} min" for m in MINUTES), *to), lines)


def return_after(seconds: float, run: Rows, speed: float) -> float | None:
    """A run's return after so long; None if it ended before, or was not evaluated yet."""
    steps = round(seconds * speed, 6)  # the end of a run stays its last step
    if steps > int(run[-1]["step"]):
        return None
    begun = (1 - SHARE) * steps
    found = [float(row["eval_return"]) for row in run if begun < int(row["step"]) <= steps]
    return float(np.mean(found)) if found else None


def _seconds_to(bar: float, run: Rows, speed: float) -> float | None:
    """When a run was first evaluated with such a return; None if it never was."""
    steps = (int(row["step"]) for row in run if float(row["eval_return"]) >= bar)
    first = next(steps, None)
    return None if first is None else first / speed


def _mean(values: Sequence[float | None]) -> str:
    there = [value for value in values if value is not None]
    return f"{np.mean(there):,.0f}" if there and len(there) == len(values) else ""
