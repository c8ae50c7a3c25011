"""What a run's folder has for a device: files, exports, and what was measured of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sparl.analysis.html.figures import Size
from sparl.errors import SparlError
from sparl.exporters import DEVICE_FILE, LATENCY_FILE, REPORT_FILE
from sparl.storage import files, schema


class ExportRow(NamedTuple):
    """What `sparl export` wrote, and what `sparl bench device` measured of it, if it did."""

    to: str
    dtype: str
    bytes: int
    error: str
    """Largest difference to the policy's outputs."""
    flash: str
    ram: str
    instructions: str
    """Per action on an emulated Cortex-M4F; empty, like flash and RAM, where not measured."""


class LatencyRow(NamedTuple):
    """Time of an action in microseconds, as `sparl bench latency` measured it."""

    computed_by: str
    median: str
    quantile_99: str


def device_files(path: Path) -> list[Size]:
    """Lists all files in policy/, policy-best/ and export/, also those that sparl did not write."""
    paths = [
        file
        for name in ("policy", "policy-best", "export")
        for file in sorted((path / name).rglob("*"))
    ]
    return [Size(str(f.relative_to(path)), f.stat().st_size) for f in paths if f.is_file()]


class _Error(msgspec.Struct):
    """Of what `sparl export` wrote."""

    max: float


class _Export(msgspec.Struct):
    """export.json."""

    to: str
    dtype: str
    bytes: int
    error: _Error | None = None


class _Device(msgspec.Struct):
    """device.json."""

    flash: float | None = None
    ram: float | None = None
    instructions: float | None = None


class _Latency(msgspec.Struct):
    """A row of latency.json."""

    told: str
    median_us: float
    p99_us: float


class _Latencies(msgspec.Struct):
    """latency.json."""

    rows: list[dict[str, Any]]


def exports(path: Path) -> list[ExportRow]:
    """Reads the reports of exports; one that cannot be read is left out."""
    rows = []
    for file in sorted(path.glob(f"export/*/{REPORT_FILE}")):
        with suppress(SparlError):
            export: _Export = schema.convert(files.read_json(file), _Export, file)
            device = _Device()
            with suppress(SparlError):
                measured = file.with_name(DEVICE_FILE)
                device = schema.convert(files.read_json(measured), _Device, measured)
            error = f"{export.error.max:.1e}" if export.error else ""
            counts = (device.flash, device.ram, device.instructions)
            told = ("" if count is None else f"{count:,.0f}" for count in counts)
            rows.append(ExportRow(export.to, export.dtype, export.bytes, error, *told))
    return rows


def latencies(path: Path) -> list[LatencyRow]:
    file, rows = path / "export" / LATENCY_FILE, []
    with suppress(SparlError):
        for found in schema.convert(files.read_json(file), _Latencies, file).rows:
            with suppress(SparlError):
                row: _Latency = schema.convert(found, _Latency, file, "rows")
                rows.append(LatencyRow(row.told, f"{row.median_us:.1f}", f"{row.p99_us:.1f}"))
    return rows
