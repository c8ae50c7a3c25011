"""The report's section of one run: key figures, layers, restructurings, files, how to repeat it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparl.analysis.html import charts, figures, matrices
from sparl.analysis.html.charts import Chart, LegendEntry
from sparl.analysis.html.device import (
    ExportRow,
    LatencyRow,
    device_files,
    exports,
    latencies,
)
from sparl.analysis.html.figures import Size, Tile
from sparl.analysis.html.film import Film
from sparl.analysis.html.read_run import Columns, ReadRun
from sparl.config import spelling

FAMILIES = {
    "kept": "Weights kept",
    "sad": "Mask entries flipped (SAD)",
    "neurons": "Hidden neurons",
    "narrowest": "Narrowest hidden layer",
    "dead_layers": "Layers without neurons",
}
"""Titles of the figures that restructures.csv has of each network, as `kept_actor`."""
MEANINGS = {
    "kept": "Weights that the network stores after each restructuring.",
    "sad": "Places that came or went: how much the topology still moves. A weight that moves from "
    "one place to another counts twice.",
    "neurons": "Neurons that are left in the hidden layers.",
    "narrowest": "Neurons in the narrowest hidden layer: where they are few, it is a bottleneck.",
    "dead_layers": "Layers through which nothing passes any more: above 0 the network is broken.",
}
"""What these figures mean, for a reader of the report."""


@dataclass(frozen=True)
class Layer:
    """A row of `sparl inspect`, with the picture of its matrix."""

    figures: dict[str, Any]
    picture: matrices.Picture

    @property
    def share(self) -> float:
        """Stored weights as a share of the weights of the dense layer before neurons were cut."""
        rows, columns = self.figures["original_shape"]
        return self.figures["kept"] / (rows * columns)

    @property
    def cut(self) -> bool:
        """Whether neurons were cut out of it."""
        return self.figures["original_shape"] != self.figures["shape"]


class Changes(NamedTuple):
    """What restructurings did, out of restructures.csv."""

    charts: list[Chart]
    """A chart per figure, all networks in one."""
    constant: list[str]
    """Figures that never changed, with their values."""


@dataclass
class RunSection:
    """What the report shows of one run. The film is added later."""

    run: ReadRun
    label: str
    """Of its variant."""
    tiles: list[Tile]
    layers: list[Layer]
    losses: list[Chart]
    """The agent's own figures over training: losses, and what else it logs."""
    changes: list[Chart]
    """Of restructurings; `restructured` is their number."""
    restructured: int
    constant: list[str]
    """Figures of restructures.csv that never changed."""
    bytes: list[Size]
    """What the bytes of the saved policy consist of, and those of the dense network."""
    files: list[Size]
    """Files for a device, with their bytes."""
    exports: list[ExportRow]
    latencies: list[LatencyRow]
    command: str
    """Repeats the run."""
    config: str
    film: Film | None = None
    no_film: str = ""
    """Why there is no film."""

    @property
    def name(self) -> str:
        """How the report calls the run."""
        return f"{self.label}, seed {self.run.config.seed}"

    @property
    def agent(self) -> str:
        """Name of its agent."""
        return self.run.agent.name

    @property
    def method(self) -> str:
        """Name of its method, with the pattern or sparsity where that is one option."""
        method: Any = self.run.method
        if hasattr(method, "pattern"):
            return f"{method.name} {method.pattern}"
        return (
            f"{method.name} {method.sparsity:.0%}" if hasattr(method, "sparsity") else method.name
        )

    @property
    def source(self) -> str:
        """The run that this one began with; empty if it began afresh."""
        begun_from = self.run.config.begun_from
        if not begun_from:
            return ""
        path = Path(begun_from)
        # Of a checkpoint, RUN/checkpoints/step-…, the run; of an imported agent its file.
        return str(path.parents[1] if path.parent.name == "checkpoints" else path)

    @property
    def changed(self) -> str:
        """What was changed when it went on, and at which steps; empty if nothing was."""
        return "; ".join(
            f"{name} from {old} to {new} at step {change['step']:,}"
            for change in self.run.recorded.get("changes", ())
            for name, (old, new) in (change.get("changed", {}) | change.get("versions", {})).items()
        )

    @property
    def logs(self) -> str:
        """The logged transitions that it learned from; empty if there were none."""
        run = self.run.config
        if not run.replay:
            return ""
        of = f"{run.replay_transitions:,} transitions of {run.replay} (sha256 {run.replay_sha256})"
        return f"{of}, and never stepped its environment to learn" if run.offline else of


def run_section(run: ReadRun, label: str) -> RunSection:
    """Gives the section of a run, without its film.

    Args:
        run: As `read_run.read` gives it.
        label: Of its variant.
    """
    changes = _changes(run.restructures)
    return RunSection(
        run,
        label,
        tiles=figures.tiles(run),
        layers=_layers(run),
        losses=_losses(run.metrics),
        changes=changes.charts,
        restructured=len(run.restructures.get("step", ())),
        constant=changes.constant,
        bytes=figures.policy_bytes(run.sizes) if run.sizes else [],
        files=device_files(run.path),
        exports=exports(run.path),
        latencies=latencies(run.path),
        command=shlex.join(spelling.command(run.config, run.agent, run.method)),
        config=json.dumps(run.recorded, indent=2, sort_keys=True),
    )


def _layers(run: ReadRun) -> list[Layer]:
    if run.policy is None or run.sizes is None:
        return []
    pictures = matrices.pictures(run.policy.network.layers)
    return [Layer(*row) for row in zip(run.sizes["layers"], pictures, strict=True)]


def _losses(table: Columns) -> list[Chart]:
    """Draws what the agent itself logs: the columns between evaluations and sparsity."""
    names = list(table)
    if not {"step", "eval_length", "sparsity"} <= table.keys():
        return []
    drawn = []
    for name in names[names.index("eval_length") + 1 : names.index("sparsity")]:
        values = table[name][np.isfinite(table[name])]
        if len(values) > 1:
            title = name.replace("_", " ").capitalize()
            alt = f"{title} against environment steps: {values[0]:g} to {values[-1]:g}"
            drawn.append(Chart(title, charts.series(table, [name], alt, jumps=False)))
    return drawn


def _changes(table: Columns) -> Changes:
    columns = {k: v for k, v in table.items() if k not in ("step", "updates")}
    networks = [name.removeprefix("kept_") for name in columns if name.startswith("kept_")]
    drawn, constant = [], []
    families: dict[str, list[str]] = {}
    for name, values in columns.items():
        finite = values[np.isfinite(values)]
        if not finite.size or finite.min() == finite.max():
            constant.append(f"{name} {finite[0]:g}" if finite.size else name)
            continue
        suffix = next((f"_{network}" for network in networks if name.endswith(f"_{network}")), "")
        families.setdefault(name.removesuffix(suffix) if suffix else name, []).append(name)
    for family, names in families.items():
        title = FAMILIES.get(family, family.replace("_", " ").capitalize())
        legend = (
            LegendEntry.of(n[len(family) + 1 :], charts.distinct_style(i))
            for i, n in enumerate(names)
        )
        ends = "; ".join(f"{n}: {table[n][0]:g} to {table[n][-1]:g}" for n in names)
        drawing = charts.series(table, names, f"{title} against environment steps. {ends}")
        entries = () if names == [family] else tuple(legend)
        drawn.append(Chart(title, drawing, MEANINGS.get(family, ""), entries))
    return Changes(drawn, constant)
