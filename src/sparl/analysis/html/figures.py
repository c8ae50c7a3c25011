"""Key figures of a run, which its section shows first, and how numbers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sparl.analysis.html.read_run import ReadRun


@dataclass(frozen=True)
class Tile:
    """A key figure, with a note on what it is measured against."""

    title: str
    value: str
    note: str = ""


class Size(NamedTuple):
    """Bytes of something."""

    name: str
    bytes: int


def tiles(run: ReadRun) -> list[Tile]:
    """Gives the key figures that the run has."""
    return [*_return(run), *_size_tiles(run), *_compression(run), *_speed(run)]


def _return(run: ReadRun) -> list[Tile]:
    if not run.returns:
        return [Tile("Return", "none yet", "no evaluation so far")]
    over = f"mean over {run.config.eval_episodes} episodes"
    if run.summary is None:
        at = f"at step {run.steps[-1]:,}, {over}"
        return [Tile("Newest return", value(run.returns[-1]), at), _best(run)]
    late = run.summary.get("final_return")
    note = over + ("" if late is None else f"; late training {value(late)}")
    return [Tile("Policy's return", value(run.returns[-1]), note), _best(run)]


def _best(run: ReadRun) -> Tile:
    i = int(np.argmax(run.returns))
    return Tile("Best evaluation", value(run.returns[i]), f"at step {run.steps[i]:,}")


def _size_tiles(run: ReadRun) -> list[Tile]:
    """Gives the sizes of the policy itself, or else those in the summary."""
    sizes = run.sizes
    if sizes is None:
        keys = ("policy_weights_kept", "policy_weights_total", "policy_bytes")
        kept, total, size = ((run.summary or {}).get(key) for key in keys)
        if kept is None or total is None or size is None:
            return []
        return [_weights(int(kept), int(total)), Tile("Policy on disk", kilobytes(int(size)))]
    dense = policy_bytes(sizes)[-1].bytes
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
            f"per action; dense {sizes['weights_total']:,}",
        ),
    ]


def _weights(kept: int, total: int) -> Tile:
    return Tile("Policy's weights", f"{kept:,}", f"of {total:,}: {kept / total:.1%}")


def _compression(run: ReadRun) -> list[Tile]:
    now = run.newest("compression_ratio")
    average = (run.summary or {}).get("average_compression_ratio")
    indexed = (run.summary or {}).get("average_compression_ratio_with_indices")
    compression = []
    if now is not None:
        when = "at the end" if run.finished else "now"
        compression.append(
            Tile("Compression", f"{now:.3f}", f"all networks, {when}: 1 - stored / dense")
        )
    if average is not None:
        note = "over training" + ("" if indexed is None else f"; with indices {indexed:.3f}")
        compression.append(Tile("Average compression", f"{average:.3f}", note))
    return compression


def _speed(run: ReadRun) -> list[Tile]:
    if run.summary is not None:
        speed, seconds = run.summary["steps_per_second"], run.summary["wall_seconds"]
    else:
        step, seconds = run.newest("step"), run.newest("wall_seconds")
        if step is None or not seconds:
            return []
        speed = step / seconds
    return [Tile("Speed", f"{speed:,.0f} steps/s", f"{duration(seconds)} in all")]


def policy_bytes(sizes: dict[str, Any]) -> list[Size]:
    """Gives the bytes of a policy by what they store, their sum, and those of the dense network.

    Args:
        sizes: `accounting.NetworkReport` as a dictionary.
    """
    rows = [layer["shape"][0] for layer in sizes["layers"]]
    weights, biases = 4 * sizes["weights_kept"], 4 * sum(rows)
    norms = sum(layer["norm_bytes"] for layer in sizes["layers"])
    original = sum(layer["original_shape"][0] for layer in sizes["layers"])
    return [
        Size("weights", weights),
        Size("biases", biases),
        *([Size("norms", norms)] if norms else []),
        Size("indices of kept weights", sizes["bytes"] - weights - biases - norms),
        Size("total", sizes["bytes"]),
        Size("the dense network", 4 * (sizes["weights_total"] + original)),
    ]


def value(number: float) -> str:
    """Writes a return; large ones without decimals."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.1f}"


def kilobytes(count: int) -> str:
    """Writes bytes in units of 1000."""
    return f"{count / 1000:,.1f} kB"


def duration(seconds: float) -> str:
    """Writes a duration in hours, minutes or seconds, the largest unit that is not above it."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
