"""What the policies of every preset return, beside dense ones, *tiny* and chance, as a table."""

from __future__ import annotations

from pathlib import Path

from drawing import style
from drawing.data import Rows, rows
from drawing.output import Output

PRESETS = "presets.csv"
COLUMNS = ("env", "agent", "who", "returns", "weights")
OTHERS = ("dense", "tiny")
CHANCE = ("random actions", "zero actions")
HEADER = ("environment", "agent", "method", "returns", "weights", *OTHERS, *CHANCE)


def outputs(folder: Path) -> list[Output]:
    """Of `results/presets`."""
    return [Output(folder / "table.md", (folder / PRESETS,), table)]


def table(files: dict[str, Path]) -> str:
    """A row for each environment."""
    found = rows(files[PRESETS])
    envs = dict.fromkeys(row["env"] for row in found)
    return style.table(HEADER, [_row([r for r in found if r["env"] == env]) for env in envs])


def _row(found: Rows) -> list[str]:
    of = {row["who"]: row for row in found}
    (sparse,) = (row for who, row in of.items() if who not in (*OTHERS, *CHANCE))
    beside = (of.get(who, {}).get("returns", "") for who in (*OTHERS, *CHANCE))
    weights = f"{int(sparse['weights']):,}"
    return [sparse["env"], sparse["agent"], sparse["who"], sparse["returns"], weights, *beside]
