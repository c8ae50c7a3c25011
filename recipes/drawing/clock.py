"""Returns after equal times, by measured speeds: variants beside one that went on longer."""

from __future__ import annotations

import csv
import io
from itertools import product
from pathlib import Path

import numpy as np

from drawing.data import CURVES, SPEEDS, recorded, speeds
from drawing.output import Output

LONGER = "mlp-256-longer"
"""The variant that went on."""
WINDOW = 300
"""Seconds over whose evaluations a return is the mean; and between two rows."""
LAST = 7200
COLUMNS = ("variant", "seed", "seconds", "steps", "return", "dense_steps", "dense_return")


def outputs(folder: Path) -> list[Output]:
    """Of the folder of a study that has `LONGER`, and whose speeds were measured."""
    return [Output(folder / "clock.csv", (folder / CURVES, folder / SPEEDS), table)]


def table(files: dict[str, Path]) -> str:
    """CSV: each variant and the longer one of the same seed, as far as both go."""
    measured, curves = speeds(files[SPEEDS]), recorded(files[CURVES])

    def at(seconds: int, name: str, seed: int) -> tuple[int, int] | None:
        steps, curve = seconds * measured.get(name, np.inf), curves.get((name, seed), [])
        if not curve or steps > int(curve[-1]["step"]):
            return None
        begun = steps * (1 - WINDOW / seconds)
        found = [float(r["eval_return"]) for r in curve if begun < int(r["step"]) <= steps]
        return (round(steps), round(np.mean(found))) if found else None

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (name, seed), seconds in product(curves, range(WINDOW, LAST, WINDOW)):
        own, longer = at(seconds, name, seed), at(seconds, LONGER, seed)
        if name != LONGER and own and longer:
            writer.writerow([name, seed, seconds, *own, *longer])
    return text.getvalue()
