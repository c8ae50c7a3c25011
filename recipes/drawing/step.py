"""Where the time of a step goes, and of an update with one thread and with two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drawing import style
from drawing.output import Output

STEPS = {"dense": "step_avx2_dense.json", "1:8": "step_avx2_1-8.json"}
TRACE = "step_avx2_trace.json"
PARTS = {
    "act": "act",
    "environment step": "environment",
    "replay add": "replay",
    "replay sample": "replay",
    "update: critics": "update",
    "update: critics and actor": "update",
    "restructure": "restructure",
}
"""What a step has, and what it counts as in the picture."""
KERNELS = {
    "prepared": "order weights",
    "forward": "forward",
    "backward": "backward",
    "deltas": "gradients of weights",
}
REST, WAITS = "outside of the kernels", "waits for the other thread"


def outputs(folder: Path) -> list[Output]:
    """Of `results/speed`."""
    names = (*STEPS.values(), TRACE)
    return [Output(folder / "step.png", tuple(folder / name for name in names), picture)]


def picture(files: dict[str, Path]) -> Figure:
    """Bars of a step's parts, dense and sparse, and of an update's."""
    steps = {name: json.loads(files[file].read_text()) for name, file in STEPS.items()}
    trace = json.loads(files[TRACE].read_text())
    figure = style.blank(12.5, 4.2)
    left, right = figure.subplots(1, 2)
    _bars(left, {name: _step(step) for name, step in steps.items()})
    left.set(title="One step, part by part", xlabel="us")
    _bars(right, {_name(update): _update(update) for update in trace["updates"]})
    right.set(title=f"One update, {trace['pattern']}", xlabel="us")
    style.caption(
        figure,
        f"{trace['env']}, TD3, 2x{trace['width']}, batch 256, on {_machine(trace)}. "
        "Left: sparl bench step, medians of each part. Right: sparl bench step --trace, the same.",
    )
    return figure


def _step(step: dict[str, Any]) -> dict[str, float]:
    found = dict.fromkeys(PARTS.values(), 0.0)
    for part in step["parts"]:
        if part["part"] in PARTS:
            found[PARTS[part["part"]]] += part["us_per_step"]
    return found


def _update(update: dict[str, Any]) -> dict[str, float]:
    found = dict.fromkeys((*KERNELS.values(), WAITS), 0.0)
    for part in update["parts"]:
        found[KERNELS[part["part"]]] += part["us"] - part["waited_us"]
        found[WAITS] += part["waited_us"]
    return found | {REST: update["us"] - sum(found.values())}


def _name(update: dict[str, Any]) -> str:
    threads = f"{update['threads']} thread{'s' * (update['threads'] > 1)}"
    return f"{update['update']},\n{threads}"


def _machine(measured: dict[str, Any]) -> str:
    machine = measured["machine"]
    return f"{machine['cpus']} cores of an {machine['cpu']} with {machine['instruction_set']}"


def _bars(axes: Axes, bars: dict[str, dict[str, float]]) -> None:
    """A bar for each, the first one on top; its parts one behind the other, with their numbers."""
    parts = list(next(iter(bars.values())))
    widest = max(sum(bar.values()) for bar in bars.values())
    for colour, part in zip(style.PALETTE, parts, strict=False):
        begins = [sum(list(bar.values())[: parts.index(part)]) for bar in bars.values()]
        sizes = [bar[part] for bar in bars.values()]
        axes.barh(list(bars), sizes, left=begins, color=colour, label=part, height=0.6)
        for row, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
            if size > 0.06 * widest:
                at = (begin + size / 2, row)
                text = {"ha": "center", "va": "center", "fontsize": style.LABEL_FONT}
                axes.annotate(f"{size:.0f}", at, color="white", **text)
    axes.invert_yaxis()
    style.plain(axes)
    axes.grid(axis="y", visible=False)
    axes.legend(
        ncols=3,
        fontsize=style.LABEL_FONT,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
    )
