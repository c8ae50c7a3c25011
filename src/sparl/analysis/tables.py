"""Writes a comparison: to the terminal, as Markdown, as CSV files and plots, or all in a folder."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from sparl.analysis.columns import Column, difference_rows
from sparl.analysis.comparison import Comparison
from sparl.analysis.variant import Variant
from sparl.errors import BadValue
from sparl.training import Console

WIDTH = 100
"""Characters per line where the output is no terminal and COLUMNS is not set."""
LABELS = 16
"""Characters per line that a variant's name may always have."""


def print_comparison(comparison: Comparison) -> None:
    """Prints the table, with the headline above and the notes below.

    Where it is wider than the terminal, its columns go below each other in several tables, each
    with the names of the variants. No number is ever cut.
    """
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDTH)
    console.print(comparison.headline)
    for columns in _stacked(comparison.columns, comparison.variants, console.width):
        table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
        for i, (heading, _) in enumerate(columns):
            # In a narrow terminal, labels are folded and figures are not.
            justify = "right" if i else "left"
            table.add_column(heading, justify=justify, no_wrap=i > 0, overflow="fold")
        for variant in comparison.variants:
            table.add_row(*(cell(variant) for _, cell in columns))
        console.print(table)
    _print_differences(console, difference_rows(comparison.differences))
    for note in comparison.notes:
        console.print(f"- {note}")


def _print_differences(console: Console, rows: list[list[str]]) -> None:
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    last = len(rows[0]) - 1
    for i, heading in enumerate(rows[0]):
        justify = "left" if i in (0, last) else "right"
        table.add_column(heading, justify=justify, no_wrap=0 < i < last, overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def _stacked(columns: list[Column], variants: Sequence[Variant], width: int) -> list[list[Column]]:
    """Divides columns among tables that fit into a width; the first column is in each."""

    def needed(column: Column) -> int:
        heading, cell = column
        return 1 + max(map(len, [*heading.split("\n"), *map(cell, variants)]))

    first, *others = columns
    names = 1 + min(needed(first), max(LABELS, width // 3))
    tables, left = [[first]], width - names
    for column in others:
        if left < needed(column) and len(tables[-1]) > 1:
            tables.append([first])
            left = width - names
        tables[-1].append(column)
        left -= needed(column)
    return tables


def markdown(comparison: Comparison) -> str:
    """Gives the headline, the table and the notes as Markdown."""
    columns = comparison.columns
    lines = [
        "| " + " | ".join(heading.replace("\n", " ") for heading, _ in columns) + " |",
        "|---|" + "---:|" * (len(columns) - 1),
        *(
            "| " + " | ".join(cell(variant) for _, cell in columns) + " |"
            for variant in comparison.variants
        ),
    ]
    rows = difference_rows(comparison.differences)
    if rows:
        headings, *cells = [[cell.replace("\n", " ") for cell in row] for row in rows]
        lines += ["", "| " + " | ".join(headings) + " |", "|---|" + "---:|" * 4 + "---|"]
        lines += ["| " + " | ".join(row) + " |" for row in cells]
    notes = "\n".join(f"- {note}" for note in comparison.notes)
    return f"{comparison.headline}\n\n" + "\n".join(lines) + f"\n\n{notes}\n"


def write_markdown(comparison: Comparison, path: Path) -> None:
    """Writes what `markdown` gives.

    Raises:
        BadValue: The file cannot be written.
    """
    _write(
        path,
        lambda: path.write_text(markdown(comparison), encoding="utf-8", errors="backslashreplace"),
    )


def write_csv(comparison: Comparison, path: Path) -> None:
    """Writes a row per variant with all its figures; several values in a cell have spaces between.

    Raises:
        BadValue: The file cannot be written.
    """
    rows = [
        {"env": comparison.env, "steps": comparison.steps, "reach": comparison.reach}
        | {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in row.items()}
        for row in (variant.figures() for variant in comparison.variants)
    ]
    _write_rows(path, list(rows[0]), (row.values() for row in rows))


def write_curves(comparison: Comparison, path: Path) -> None:
    """Writes a row per evaluation of every run.

    Raises:
        BadValue: The file cannot be written.
    """
    _write_rows(
        path,
        ["env", "variant", "seed", "step", "wall_seconds", "eval_return"],
        (
            (comparison.env, variant.label, run.config.seed, *evaluation)
            for variant in comparison.variants
            for run in variant.runs
            for evaluation in zip(run.steps, run.seconds, run.returns, strict=True)
        ),
    )


def write_plots(comparison: Comparison, folder: Path) -> None:
    """Writes `curves.png`, `return_against_size.png` and, of several seeds, `profiles.png`.

    The folder is made if it is missing.

    Raises:
        BadValue: The files cannot be written.
    """
    # Imported here because it imports matplotlib, for which no other command should wait.
    from sparl.analysis import plots

    _write(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
    figures = {
        "curves.png": plots.curves(comparison),
        "return_against_size.png": plots.return_against_size(comparison),
    }
    if max(len(variant.seeds) for variant in comparison.variants) > 1:
        figures["profiles.png"] = plots.profiles(comparison)
    for name, figure in figures.items():
        path = folder / name
        _write(path, lambda figure=figure, path=path: plots.save(figure, path))


def save(comparison: Comparison, folder: str | Path) -> None:
    """Writes `table.md`, `table.csv`, `curves.csv` and both plots into a folder.

    Raises:
        BadValue: A file cannot be written.
    """
    folder = Path(folder)
    write_plots(comparison, folder)
    write_markdown(comparison, folder / "table.md")
    write_csv(comparison, folder / "table.csv")
    write_curves(comparison, folder / "curves.csv")


def _write_rows(path: Path, columns: list[str], rows: Iterable[Iterable[Any]]) -> None:
    def write() -> None:
        with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)

    _write(path, write)


def _write(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        raise BadValue(f"{path} cannot be written: {error.strerror}. Name another place") from error
