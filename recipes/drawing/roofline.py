"""What kernels reach of what one core can do, against what they move for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from drawing import style
from drawing.output import Output

DATA = "roofline.json"
MARKERS = {"values": "o", "by inputs": "s", "by weights": "^"}
TOLD = {"values": "values", "by inputs": "gradient by the inputs", "by weights": "by the weights"}


def outputs(folder: Path) -> list[Output]:
    """Of `results/speed`."""
    return [Output(folder / "roofline.png", (folder / DATA,), picture)]


def picture(files: dict[str, Path]) -> Figure:
    """A panel for each width: what a layer's passes reach, under the roofs of the core."""
    measured = json.loads(files[DATA].read_text())
    rows, machine = measured["rows"], measured["machine"]
    widths = sorted({row["width"] for row in rows})
    patterns = list(dict.fromkeys(row["pattern"] for row in rows))
    colours = dict(zip(patterns, ("black", *style.PALETTE), strict=False))
    figure = style.blank(12.5, 4.8)
    for axes, width in zip(figure.subplots(1, len(widths), sharey=True), widths, strict=True):
        _roofs(axes, measured["ceilings"], [row["flop_per_byte"] for row in rows])
        for row in rows:
            if row["width"] == width:
                at = row["flop_per_byte"], row["gflops"]
                axes.plot(*at, MARKERS[row["pass"]], color=colours[row["pattern"]], ms=7, alpha=0.8)
        axes.set(
            title=f"{width} x {width}, batch {measured['batch']}",
            xlabel="operations for a byte moved between cache and registers",
        )
        style.plain(axes)
    axes = figure.axes[0]
    axes.set_ylabel("useful Gflop/s, one core")
    looks = {"marker": "o", "ls": "", "ms": 7}
    handles = [Line2D([], [], color=c, label=p, **looks) for p, c in colours.items()]
    looks = {"color": "#666666", "ls": "", "ms": 7}
    handles += [Line2D([], [], marker=m, label=TOLD[p], **looks) for p, m in MARKERS.items()]
    figure.legend(
        handles=handles,
        loc="outside right center",
        fontsize=style.LABEL_FONT,
        frameon=False,
    )
    style.caption(
        figure,
        f"One thread on an {machine['cpu']} with {machine['instruction_set']}; grey: what its "
        "caches give and its multiply-adds do at most, measured too. By recipes/roofline.py.",
    )
    return figure


def _roofs(axes: Axes, ceilings: dict[str, Any], intensities: list[float]) -> None:
    """The most that a core can do: by what each cache gives, and by its multiply-adds."""
    ends = np.array([min(intensities) / 1.25, max(intensities) * 1.25])
    most = ceilings["gflops"]
    text = {"fontsize": style.LABEL_FONT, "color": "#444444"}
    for level, gigabytes in ceilings["gigabytes_per_second"].items():
        bend = min(max(most / gigabytes, ends[0]), ends[1])
        xs = np.array([ends[0], bend, ends[1]])
        axes.plot(xs, np.minimum(gigabytes * xs, most), color="#999999", lw=1.2, zorder=0)
        begin = gigabytes * ends[0]
        if begin < most:
            axes.annotate(
                f"{level}, {gigabytes:.0f} GB/s",
                (ends[0], begin),
                xytext=(2, 4),
                textcoords="offset points",
                **text,
            )
    top = {"xytext": (-2, 4), "textcoords": "offset points", "ha": "right"}
    axes.annotate(f"multiply-adds, {most:.0f} Gflop/s", (ends[1], most), **top, **text)
    axes.set(xscale="log", yscale="log", xlim=ends)
    axes.set_xticks([0.5, 1, 1.5, 2], ["0.5", "1", "1.5", "2"])
    axes.set_xticks([], minor=True)
    ticks = [tick for tick in (10, 20, 30, 50, 80, 120, 200) if tick <= 1.3 * most]
    axes.set_yticks(ticks, list(map(str, ticks)))
    axes.set_yticks([], minor=True)
