"""Reading what recipes have recorded: curves and figures of each run, and measured speeds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from sparl.training import late

CURVES, RUNS, SPEEDS = "curves.csv", "runs.csv", "speeds.json"

Rows = list[dict[str, str]]


def rows(path: Path) -> Rows:
    """The rows of a CSV file by column."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def recorded(path: Path | None) -> dict[tuple[str, int], Rows]:
    """The rows of a CSV file by variant and seed; none if there is no file."""
    found: dict[tuple[str, int], Rows] = {}
    if path is not None and path.exists():
        for row in rows(path):
            found.setdefault((row["variant"], int(row["seed"])), []).append(row)
    return found


def variants(found: dict[tuple[str, int], Rows]) -> list[str]:
    """The names there are, in their order."""
    return list(dict.fromkeys(name for name, _ in found))


def speeds(path: Path | None) -> dict[str, float]:
    """Steps per second of each variant, the median of what was measured; none without a file."""
    found = json.loads(path.read_text()) if path is not None and path.exists() else {}
    return {name: float(np.median(values)) for name, values in found.items()}


def final_return(curve: Rows) -> float:
    """The mean of a curve's last evaluations, as in a run's summary."""
    return float(np.mean(late([float(row["eval_return"]) for row in curve])))
