"""What all benchmarks share of telling: progress, a table, a JSON file, and on what machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from sparl import kernels
from sparl.errors import BadValue

BUSY = 0.5
"""A load average from which on other work disturbs the figures."""

Item = TypeVar("Item")


def check(json_file: Path | None, **counts: int | Sequence[int]) -> None:
    """Raises `BadValue` for a count below 1, or a file that could not be written in the end."""
    for name, given in counts.items():
        values = (given,) if isinstance(given, int) else given
        if not values or min(values) < 1:
            told = "empty" if not values else str(min(values))
            raise BadValue(f"--{name} is {told}: it must be at least 1")
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise BadValue(f"--json {json_file} cannot be written: name a file in an existing folder")


def machine() -> dict[str, Any]:
    """On what the figures were made; warns if something else is running there."""
    load = os.getloadavg()[0]
    if load > BUSY:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(
            f"warning: this machine is busy (load average {load:.1f}): the figures will be worse "
            "than it can do. Wait until it is idle.",
            style="yellow",
        )
    return {
        "cpus": cpus(),
        "instruction_set": kernels.instruction_set(),
        "jax": jax.__version__,
        "load_average": load,
    }


def cpus() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def in_turn(items: Iterable[Item], told: Callable[[Item], str]) -> Iterator[Item]:
    """The items, each announced on stderr: a line that is replaced, or plain lines."""
    items = list(items)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with console.status("") as status:
        for i, item in enumerate(items):
            text = f"{i + 1}/{len(items)} {told(item)}"
            status.update(text) if console.is_terminal else console.print(text)
            yield item


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout; the first column is text, the others are figures."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


def write(path: Path | None, content: Any) -> None:
    """Figures as JSON, if a file was asked for."""
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n")
