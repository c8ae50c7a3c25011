"""What policies cost on a small device, and on the machine of the recipe, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drawing import style
from drawing.data import Rows, rows
from drawing.output import Output

COSTS, HERE = "cortex_m4.csv", "here.csv"
DTYPES = ("float32", "float16", "int8")
HERE_DTYPES = ("float32", "int8")


def outputs(folder: Path) -> list[Output]:
    """Of `results/device`."""
    return [
        Output(folder / "table.md", (folder / COSTS,), table),
        Output(folder / "here.md", (folder / HERE,), here),
    ]


def table(files: dict[str, Path]) -> str:
    """A row for each policy, the figures of the types beside each other."""
    return _by_dtype(rows(files[COSTS]), ("bytes", "flash", "instructions"), DTYPES, 0)


def here(files: dict[str, Path]) -> str:
    """The same of microseconds, and of nanoseconds for each weight."""
    found = rows(files[HERE])
    for row in found:
        row["nanoseconds per weight"] = str(
            1e3 * float(row["microseconds"]) / float(row["weights"])
        )
    return _by_dtype(found, ("microseconds", "nanoseconds per weight"), HERE_DTYPES, 2)


def _by_dtype(found: Rows, figures: Sequence[str], dtypes: Sequence[str], decimals: int) -> str:
    costs = {(row["policy"], row["dtype"]): row for row in found}
    first, *others = dtypes
    header = ["policy", *(name for key in figures for name in (f"{key}: {first}", *others))]

    def cells(policy: str) -> list[str]:
        figure = (float(costs[policy, d][k]) for k in figures for d in dtypes)
        return [policy, *(f"{value:,.{decimals}f}" for value in figure)]

    return style.table(header, [cells(policy) for policy in dict.fromkeys(p for p, _ in costs)])
