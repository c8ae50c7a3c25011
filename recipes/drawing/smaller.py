"""How small a Go1's policy can be: what `recipes/go1/smaller.py` measured, as a table."""

from __future__ import annotations

from pathlib import Path

from drawing import style
from drawing.data import Rows, rows
from drawing.output import Output

HEADER = (
    *("hidden layers", "weights", "flash", "RAM", "instructions an action"),
    *("error ahead", "to the left", "turning left", "to the right", "turning right", "falls"),
)


def outputs(folder: Path) -> list[Output]:
    """Of `results/go1`."""
    measured = folder / "smaller.csv"
    return [Output(folder / "smaller.md", (measured,), table)] if measured.exists() else []


def table(files: dict[str, Path]) -> str:
    """A row for each policy; errors are in m/s and rad/s."""
    (path,) = files.values()
    policies: dict[str, Rows] = {}
    for row in rows(path):
        policies.setdefault(row["hidden"], []).append(row)
    lines = []
    for hidden, commands in policies.items():
        sizes = (commands[0][column] for column in ("weights", "flash", "ram", "instructions"))
        name = "the policy itself" if hidden == "teacher" else hidden.replace(",", "x")
        errors = (f"{float(row['error']):.2f}" for row in commands)
        falls = str(sum(int(row["falls"]) for row in commands))
        lines.append([name, *(f"{int(size):,}" for size in sizes), *errors, falls])
    return style.table(HEADER, lines)
