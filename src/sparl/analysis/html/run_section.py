"""A run's part of the page: key figures, layers, restructurings, files, how to repeat it."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparl import agents
from sparl.analysis.html import charts, figures, matrices
from sparl.analysis.html.charts import Chart, Key
from sparl.analysis.html.figures import Tile
from sparl.analysis.html.film import Film
from sparl.analysis.html.read_run import Columns, Shown
from sparl.config import options
from sparl.errors import SparlError
from sparl.exporters import DEVICE_FILE, LATENCY_FILE, REPORT_FILE
from sparl.storage import files

FAMILIES = {
    "kept": "Weights kept",
    "sad": "Mask entries flipped (SAD)",
    "neurons": "Hidden neurons",
    "narrowest": "Narrowest hidden layer",
    "dead_layers": "Layers without neurons",
}
"""Figures that restructures.csv has of each network, and what they are."""


@dataclass(frozen=True)
class Layer:
    """A row of `sparl inspect`, with the picture of its matrix."""

    figures: dict[str, Any]
    picture: matrices.Picture

    @property
    def share(self) -> float:
        """Kept of what there was before anything was left out or cut out."""
        rows, columns = self.figures["original_shape"]
        return self.figures["kept"] / (rows * columns)

    @property
    def cut(self) -> bool:
        return self.figures["original_shape"] != self.figures["shape"]


class Export(NamedTuple):
    """What `sparl export` wrote: to what, with which weights, bytes, its largest error; and on an
    emulated Cortex-M4F flash, RAM and instructions, where they were measured."""

    to: str
    dtype: str
    bytes: int
    error: str
    flash: str
    ram: str
    instructions: str


@dataclass
class Part:
    """What stands on the page of a run. The film is added when it is made."""

    run: Shown
    label: str
    tiles: list[Tile]
    layers: list[Layer]
    changes: list[Chart]
    constant: list[str]
    """Figures of restructures.csv that never changed."""
    bytes: list[tuple[str, int]]
    """What the saved policy consists of, and the dense one beside it."""
    files: list[tuple[str, int]]
    """What there is to put on a device, with sizes."""
    exports: list[Export]
    latencies: list[tuple[str, str, str]]
    command: str
    config: str
    film: Film | None = None
    no_film: str = ""
    """Why there is none."""

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"{self.label}, seed {self.run.config.seed}"

    @property
    def agent(self) -> str:
        return agents.name_of(self.run.agent)

    @property
    def method(self) -> str:
        """Its name, with how much it keeps where that is one option."""
        method: Any = self.run.method
        if hasattr(method, "pattern"):
            return f"{method.name} {method.pattern}"
        return (
            f"{method.name} {method.sparsity:.0%}" if hasattr(method, "sparsity") else method.name
        )

    @property
    def source(self) -> str:
        """The run that this one began with, or nothing."""
        begun_from = self.run.config.begun_from
        return str(Path(begun_from).parents[1]) if begun_from else ""


def part(run: Shown, label: str) -> Part:
    """All of it but the film."""
    changes, constant = _changes(run.restructures)
    return Part(
        run,
        label,
        tiles=figures.tiles(run),
        layers=_layers(run),
        changes=changes,
        constant=constant,
        bytes=figures.bytes_of(run.sizes) if run.sizes else [],
        files=_files(run.path),
        exports=_exports(run.path),
        latencies=_latencies(run.path),
        command=shlex.join(options.command(run.config, run.agent, run.method)),
        config=json.dumps(run.recorded, indent=2, sort_keys=True),
    )


def _layers(run: Shown) -> list[Layer]:
    if run.policy is None or run.sizes is None:
        return []
    pictures = matrices.pictures(run.policy.network.layers)
    return [Layer(*row) for row in zip(run.sizes["layers"], pictures, strict=True)]


def _files(path: Path) -> list[tuple[str, int]]:
    """Everything in policy/ and export/, whatever wrote it."""
    found = [file for name in ("policy", "export") for file in sorted((path / name).rglob("*"))]
    return [(str(f.relative_to(path)), f.stat().st_size) for f in found if f.is_file()]


def _exports(path: Path) -> list[Export]:
    """Of the reports that tell so much; files are listed whether they do or not."""
    found = []
    for file in sorted(path.glob(f"export/*/{REPORT_FILE}")):
        report = _read(file)
        with suppress(KeyError, TypeError, ValueError):
            error, device = report.get("error"), _read(file.with_name(DEVICE_FILE))
            counts = (device.get(name) for name in ("flash", "ram", "instructions"))
            found.append(
                Export(
                    str(report["to"]),
                    str(report["dtype"]),
                    int(report["bytes"]),
                    f"{error['max']:.1e}" if error else "",
                    *("" if count is None else f"{float(count):,.0f}" for count in counts),
                )
            )
    return found


def _latencies(path: Path) -> list[tuple[str, str, str]]:
    """Of an action, by who computes it: median and 99 % quantile, in microseconds."""
    found = []
    for row in _read(path / "export" / LATENCY_FILE).get("rows", []):
        with suppress(KeyError, TypeError, ValueError):
            times = (f"{float(row[name]):.1f}" for name in ("median_us", "p99_us"))
            found.append((str(row["told"]), *times))
    return found


def _read(file: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none."""
    with suppress(SparlError):
        content = files.read_json(file)
        return content if isinstance(content, dict) else {}
    return {}


def _changes(table: Columns) -> tuple[list[Chart], list[str]]:
    """Charts of what restructurings changed, those of all networks in one; what stayed is told."""
    figures = {k: v for k, v in table.items() if k not in ("step", "updates")}
    networks = [name.removeprefix("kept_") for name in figures if name.startswith("kept_")]
    shown, constant = [], []
    families: dict[str, list[str]] = {}
    for name, values in figures.items():
        known = values[np.isfinite(values)]
        if not known.size or known.min() == known.max():
            constant.append(f"{name} {known[0]:g}" if known.size else name)
            continue
        of = next((f"_{network}" for network in networks if name.endswith(f"_{network}")), "")
        families.setdefault(name.removesuffix(of) if of else name, []).append(name)
    for family, names in families.items():
        title = FAMILIES.get(family, family.replace("_", " ").capitalize())
        alone = names == [family]
        keys = (Key.of(n[len(family) + 1 :], charts.distinct(i)) for i, n in enumerate(names))
        ends = "; ".join(f"{n}: {table[n][0]:g} to {table[n][-1]:g}" for n in names)
        drawing = charts.series(table, names, f"{title} against environment steps. {ends}")
        shown.append(Chart(title, drawing, legend=() if alone else tuple(keys)))
    return shown, constant
