"""How fast layers and whole training are, from the figures of `sparl bench layers` and `train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drawing import style
from drawing.output import Output

LAYERS, TRAIN = "layers.json", "train_halfcheetah_256.json"
PAIRS = "train_avx2_pairs.json"
SHARED_ROWS = "layers_shared_rows.json"
TABLES = {
    # A machine as most laptops are, and a fast one with AVX-512.
    "avx2.md": (
        *("train_avx2_td3.json", "train_avx2_ant.json", "train_avx2_sac.json"),
        *("train_avx2_crossq.json", PAIRS),
    ),
    "avx512.md": ("train_halfcheetah_256.json", "train_halfcheetah_1024.json"),
}
AGENTS = {"td3": "TD3", "sac": "SAC", "crossq": "CrossQ"}
WIDTHS, BATCH = (256, 1024), 256
PEERS = {"sb3": "Stable-Baselines3", "sbx": "SBX"}


def outputs(folder: Path) -> list[Output]:
    """Of `results/speed`."""
    return [
        Output(folder / "speed.png", (folder / LAYERS, folder / TRAIN), picture),
        *(
            Output(folder / name, tuple(folder / file for file in files), table)
            for name, files in TABLES.items()
        ),
        Output(folder / "layers_shared_rows.md", (folder / SHARED_ROWS,), layers_table),
    ]


def picture(files: dict[str, Path]) -> Figure:
    """A layer beside the dense one, and training beside Stable-Baselines3."""
    layers, training = (json.loads(files[name].read_text()) for name in (LAYERS, TRAIN))
    figure = style.blank(12.5, 4.6)
    left, right = figure.subplots(1, 2)
    _layers(left, layers["rows"])
    _training(right, training)
    style.caption(
        figure,
        f"Left: {LAYERS}, one run of sparl bench layers. Right: {TRAIN}, medians of "
        f"{len(training['rows'][0]['all'])} repetitions in turn, by sparl bench train; in brackets "
        "the median ratio to Stable-Baselines3 within a repetition.",
    )
    return figure


def table(files: dict[str, Path]) -> str:
    """A row for each contender of each setting, and for two runs of it side by side."""
    rows = []
    for name, path in files.items():
        measured = json.loads(path.read_text())
        setting = f"{AGENTS[measured['agent']]}, {measured['env']}, 2x{measured['width']}"
        for row in measured["rows"]:
            if name == PAIRS and row["runs"] == 1:
                continue  # the first file has them, of more repetitions
            rows.append([setting, *_cells(row)])
    header = ["", "", "steps/s", "core us a step", "times the peer", "times dense"]
    return style.table(header, rows)


def layers_table(files: dict[str, Path]) -> str:
    """A row for each pattern: how many times faster than dense, and the share of the peak."""
    measured = json.loads(files[SHARED_ROWS].read_text())
    found = {(row["pattern"], row["width"]): row for row in measured["rows"]}
    widths = sorted({width for _, width in found})
    rows = []
    for pattern in dict.fromkeys(pattern for pattern, _ in found):
        of = [found[pattern, width] for width in widths]
        times = (f"{row['ratio_both']:.2f}" for row in of)
        shares = (f"{100 * row['share_of_peak']:.0f} %" for row in of)
        rows.append([pattern, *times, *shares])
    header = ["", *(f"{w}: times dense" for w in widths), *(f"{w}: of the peak" for w in widths)]
    return style.table(header, rows)


def _cells(row: dict[str, Any]) -> list[str]:
    who = PEERS.get(row["name"], f"sparl, {row['name']}")
    if row["runs"] > 1:
        who += f", {row['runs']} runs"
    least, most = min(row["all"]), max(row["all"])
    peer = next(row[k] for k in ("ratio_to_one_sb3", "ratio_to_sb3", "ratio_to_sbx") if k in row)
    return [
        who,
        f"{row['steps_per_second']:.0f} ({least:.0f} to {most:.0f})",
        f"{row['core_us_per_step']:,.0f}",
        f"{peer:.2f}",
        f"{row['ratio_to_dense']:.2f}" if "ratio_to_dense" in row else "",
    ]


def sparsity(pattern: str) -> float:
    """The share of the weights that a pattern leaves out: of 1:4 and of 75% it is 0.75."""
    if pattern.endswith("%"):
        return float(pattern[:-1]) / 100
    n, m = map(int, pattern.split(":"))
    return 1 - n / m


def _layers(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """How many times faster than the dense layer, against sparsity."""
    ends = []
    for colour, width in zip(style.PALETTE, WIDTHS, strict=False):
        for ending, kind, line in ((False, "N:M", "o-"), (True, "unstructured", "s--")):
            points = sorted(
                (100 * sparsity(row["pattern"]), row["ratio_both"])
                for row in rows
                if (row["width"], row["batch"]) == (width, BATCH)
                and row["pattern"].endswith("%") == ending
                and row["pattern"] != "1:1"
            )
            axes.plot(*zip(*points, strict=True), line, color=colour, ms=4)
            ends.append(style.End(*points[-1], f"{width} x {width}, {kind}", colour))
    axes.axhline(1, color="black", lw=1)
    text = {"ha": "right", "va": "top", "fontsize": style.LABEL_FONT}
    axes.annotate("dense, by XLA", (96.5, 0.95), **text)
    axes.set(
        title=f"One layer, forward and backward, batch {BATCH}",
        xlabel="weights left out, %",
        ylabel="times faster than dense",
        xlim=(47, 97),
        ylim=(0, None),
    )
    style.plain(axes)
    style.label_ends(axes, ends)


def _training(axes: Axes, setting: dict[str, Any]) -> None:
    """Steps per second of each contender, a bar for each."""
    rows = setting["rows"]
    names = [PEERS.get(row["name"], f"sparl, {row['name']}") for row in rows]
    colours = ["#999999" if row["name"] in PEERS else style.PALETTE[0] for row in rows]
    bars = axes.barh(names, [row["steps_per_second"] for row in rows], color=colours)
    told = [f"{row['steps_per_second']:.0f}  ({row['ratio_to_sb3']:.2f}x)" for row in rows]
    axes.bar_label(bars, told, padding=4, fontsize=style.LABEL_FONT)
    axes.invert_yaxis()
    axes.set(
        title=f"Training, TD3 on {setting['env']}, 2x{setting['width']}",
        xlabel="environment steps per second, one update each",
        xlim=(0, 1.2 * max(row["steps_per_second"] for row in rows)),
    )
    style.plain(axes)
    axes.grid(visible=False, axis="y")
