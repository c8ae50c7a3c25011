"""How all benchmarks report: progress, a table, a JSON file, and the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import jax
from rich import box
from rich.table import Table
from rich.text import Text

from sparl import kernels
from sparl.errors import BadValue
from sparl.training import Console

BUSY = 0.5
"""Above this load average, other work disturbs the figures."""

Item = TypeVar("Item")


def check(json_file: Path | None, **counts: int | Sequence[int]) -> None:
    """Checks options before anything is measured.

    Args:
        json_file: The file for the figures.
        counts: Options by name that must be at least 1, alone or in a sequence.

    Raises:
        BadValue: A count is below 1, or the file cannot be written.
    """
    for name, option in counts.items():
        values = (option,) if isinstance(option, int) else option
        if not values or min(values) < 1:
            value = "empty" if not values else str(min(values))
            raise BadValue(f"--{name} is {value}: it must be at least 1")
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise BadValue(f"--json {json_file} cannot be written: name a file in an existing folder")


def machine() -> dict[str, Any]:
    """Describes this machine for the JSON file; warns on stderr if other work is running."""
    load = None if sys.platform == "win32" else os.getloadavg()[0]
    if load is not None and load > BUSY:
        console = Console(stderr=True, soft_wrap=True)
        console.print(
            f"warning: this machine is busy (load average {load:.1f}), which makes the figures "
            "worse. Wait until it is idle.",
            style="yellow",
        )
    return {
        "cpu": cpu_model(),
        "cpus": len(cores()),
        "instruction_set": kernels.instruction_set(),
        "jax": jax.__version__,
        "load_average": load,
    }


def told(machine: dict[str, Any]) -> str:
    """Gives a machine in a line: its processor, cores and instruction set."""
    count = machine["cpus"]
    cores_of = f"{count} core{'s' if count > 1 else ''}"
    return f"{machine['cpu']}, {cores_of}, {machine['instruction_set']}"


def cpu_model() -> str:
    """Gives the name of the processor, as the system knows it."""
    with suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(command, encoding="utf-8").strip()
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def cores() -> list[int]:
    """Gives the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def in_turn(items: Iterable[Item], label: Callable[[Item], str]) -> Iterator[Item]:
    """Gives the items one by one and announces each on stderr.

    A terminal shows one line, which is replaced; other outputs get a line per item.
    """
    items = list(items)
    console = Console(stderr=True, soft_wrap=True)
    with console.status("") as status:
        for i, item in enumerate(items):
            text = f"{i + 1}/{len(items)} {label(item)}"
            status.update(Text(text)) if console.is_terminal else console.print(text)
            yield item


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; the first column is text, the others are figures."""
    rich_table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, heading in enumerate(headings):
        rich_table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        rich_table.add_row(*row)
    Console().print(rich_table)


def write(path: Path | None, content: Any) -> None:
    """Writes figures as JSON; does nothing if there is no path."""
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n")
