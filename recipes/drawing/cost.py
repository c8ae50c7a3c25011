"""What policies cost on a small device, as a table."""

from __future__ import annotations

from pathlib import Path

from drawing import style
from drawing.data import rows
from drawing.output import Output

COSTS = "cortex_m4.csv"
DTYPES = ("float32", "float16", "int8")
FIGURES = ("bytes", "instructions")


def outputs(folder: Path) -> list[Output]:
    """Of `results/device`."""
    return [Output(folder / "table.md", (folder / COSTS,), table)]


def table(files: dict[str, Path]) -> str:
    """A row for each policy, the figures of the types beside each other."""
    costs = {(row["policy"], row["dtype"]): row for row in rows(files[COSTS])}
    first, *others = DTYPES
    header = ["policy", *(name for key in FIGURES for name in (f"{key}: {first}", *others))]
    return style.table(
        header,
        [
            [policy, *(f"{float(costs[policy, d][k]):,.0f}" for k in FIGURES for d in DTYPES)]
            for policy in dict.fromkeys(policy for policy, _ in costs)
        ],
    )
