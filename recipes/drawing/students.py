"""Teachers and the smallest students that do what they do, as a table."""

from __future__ import annotations

from pathlib import Path

from drawing import style
from drawing.data import Rows, rows
from drawing.output import Output

STUDENTS = "students.csv"
HEADER = (
    *("environment", "teacher", "its return", "its weights", "student", "weights", "return"),
    *("kept", "bytes of int8", "return of int8", "flash", "instructions"),
    "the next smaller one keeps",
)


def outputs(folder: Path) -> list[Output]:
    """Of `results/distillation`."""
    return [Output(folder / "table.md", (folder / STUDENTS,), table)]


def table(files: dict[str, Path]) -> str:
    """A row for each teacher: its smallest good student, and what the next smaller one keeps."""
    found = rows(files[STUDENTS])
    envs = dict.fromkeys(row["env"] for row in found)
    return style.table(HEADER, [_row([r for r in found if r["env"] == env]) for env in envs])


def _row(students: Rows) -> list[str]:
    chosen = next(row for row in students if row["chosen"] == "1")
    smaller = [row for row in students if int(row["weights"]) < int(chosen["weights"])]
    nearest = max(smaller, key=lambda row: int(row["weights"]), default=None)
    return [
        *(chosen["env"], chosen["teacher"]),
        *(_number(chosen["teacher_return"]), _number(chosen["teacher_weights"])),
        *(
            chosen["hidden"].replace(" ", "x"),
            _number(chosen["weights"]),
            _number(chosen["return"]),
        ),
        *(f"{float(chosen['kept']):.1%}", _number(chosen["int8_bytes"])),
        *(_number(chosen["int8_return"]), _number(chosen["flash"])),
        _number(chosen["instructions"]),
        "" if nearest is None else f"{float(nearest['kept']):.0%}",
    ]


def _number(text: str) -> str:
    return f"{float(text):,.0f}" if text else ""
