"""Reports as tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(report: dict[str, Any]) -> None:
    """The report of `api.inspect`: a row per layer, totals per network."""
    table = Table("network", "layer", "layout", "pattern", "shape", title=None)
    for heading in ("kept", "of", "bytes", "multiply-adds"):
        table.add_column(heading, justify="right")
    for name, network in report["networks"].items():
        for layer in network["layers"]:
            out, inputs = layer["shape"]
            table.add_row(
                name,
                layer["name"],
                layer["layout"],
                layer["pattern"] or "",
                f"{out} x {inputs}",
                f"{layer['kept']:,}",
                f"{out * inputs:,}",
                f"{layer['bytes']:,}",
                f"{layer['macs']:,}",
            )
        table.add_row(
            name,
            "total",
            "",
            "",
            f"{network['neurons']} neurons",
            f"{network['weights_kept']:,}",
            f"{network['weights_total']:,}",
            f"{network['bytes']:,}",
            f"{network['macs']:,}",
            style="bold",
            end_section=True,
        )
    console = Console()
    console.print(table)
    console.print(f"compression ratio (1 - stored / dense): {report['compression_ratio']:.3f}")
    if report["average_compression_ratio"] is not None:
        console.print(f"average over training: {report['average_compression_ratio']:.3f}")


def print_list(kinds: dict[str, dict[str, str | None]]) -> None:
    """Names with the first line of what they are, by kind."""
    console = Console(highlight=False)
    for kind, names in kinds.items():
        console.print(f"[bold]{kind}[/bold]")
        for name, text in names.items():
            console.print(f"  {name:<16} {(text or '').strip().splitlines()[0]}", markup=False)
