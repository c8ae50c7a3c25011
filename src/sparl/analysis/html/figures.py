"""A run's key figures, as the page shows them first, and how its numbers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparl.analysis.html.read_run import Shown


@dataclass(frozen=True)
class Tile:
    """A figure that matters, with what it is measured against."""

    title: str
    value: str
    note: str = ""


def tiles(run: Shown) -> list[Tile]:
    """Those that the run can tell."""
    return [_return(run), *_size_tiles(run), *_compression(run), *_speed(run)]


def _return(run: Shown) -> Tile:
    if run.summary is not None:
        best = run.summary.get("best_return")
        told = "" if best is None else f"; best {value(best)}"
        return Tile(
            "Final return", value(run.summary["final_return"]), f"last 10 evaluations{told}"
        )
    if run.returns:
        return Tile("Newest return", value(run.returns[-1]), f"at step {run.steps[-1]:,}")
    return Tile("Return", "none yet", "no evaluation so far")


def _size_tiles(run: Shown) -> list[Tile]:
    """Of the policy itself, or what the summary has of it."""
    sizes = run.sizes
    if sizes is None:
        keys = ("policy_weights_kept", "policy_weights_total", "policy_bytes")
        kept, total, size = ((run.summary or {}).get(key) for key in keys)
        if kept is None or total is None or size is None:
            return []
        return [_weights(int(kept), int(total)), Tile("Policy on disk", kilobytes(int(size)))]
    dense = bytes_of(sizes)[-1][1]
    return [
        _weights(sizes["weights_kept"], sizes["weights_total"]),
        Tile(
            "Policy's size",
            kilobytes(sizes["bytes"]),
            f"{sizes['bytes']:,} bytes; dense {dense:,}",
        ),
        Tile(
            "Multiply-adds",
            f"{sizes['macs']:,}",
            f"for an action; dense {sizes['weights_total']:,}",
        ),
    ]


def _weights(kept: int, total: int) -> Tile:
    return Tile("Policy's weights", f"{kept:,}", f"of {total:,}: {kept / total:.1%}")


def _compression(run: Shown) -> list[Tile]:
    now = run.newest("compression_ratio")
    average = (run.summary or {}).get("average_compression_ratio")
    indexed = (run.summary or {}).get("average_compression_ratio_with_indices")
    found = []
    if now is not None:
        when = "at the end" if run.finished else "now"
        found.append(Tile("Compression", f"{now:.3f}", f"all networks, {when}: 1 - stored / dense"))
    if average is not None:
        told = "" if indexed is None else f"; with indices {indexed:.3f}"
        found.append(Tile("Average compression", f"{average:.3f}", f"over training{told}"))
    return found


def _speed(run: Shown) -> list[Tile]:
    if run.summary is not None:
        speed, seconds = run.summary["steps_per_second"], run.summary["wall_seconds"]
    else:
        step, seconds = run.newest("step"), run.newest("wall_seconds")
        if step is None or not seconds:
            return []
        speed = step / seconds
    return [Tile("Speed", f"{speed:,.0f} steps/s", f"{duration(seconds)} in all")]


def bytes_of(sizes: dict[str, Any]) -> list[tuple[str, int]]:
    """Of float32 weights and biases and of indices; and those of the network it was made from."""
    rows = [layer["shape"][0] for layer in sizes["layers"]]
    weights, biases = 4 * sizes["weights_kept"], 4 * sum(rows)
    norms = sum(layer["norm_bytes"] for layer in sizes["layers"])
    original = sum(layer["original_shape"][0] for layer in sizes["layers"])
    return [
        ("weights", weights),
        ("biases", biases),
        *([("norms", norms)] if norms else []),
        ("indices of kept weights", sizes["bytes"] - weights - biases - norms),
        ("together", sizes["bytes"]),
        ("the dense network", 4 * (sizes["weights_total"] + original)),
    ]


def value(number: float) -> str:
    """A return: large ones without what nobody reads."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}"


def kilobytes(count: int) -> str:
    return f"{count / 1000:,.1f} kB"


def duration(seconds: float) -> str:
    """Hours, minutes or seconds, whichever is not too small."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
