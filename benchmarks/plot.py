"""Draws the README's figure of speed from the JSON files of `sparl bench layers` and `train`.

python benchmarks/plot.py layers.json train.json [train.json ...] speed.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

WIDTHS, BATCH = (256, 1024), 256


def sparsity(pattern: str) -> float:
    """Share of the weights that a pattern leaves out: 1:4 and 75% are both 0.75."""
    if pattern.endswith("%"):
        return float(pattern[:-1]) / 100
    n, m = map(int, pattern.split(":"))
    return 1 - n / m


def draw_layers(axes: plt.Axes, rows: list[dict]) -> None:
    """How many times faster than the dense layer, against sparsity."""
    for colour, width in zip(("C0", "C1"), WIDTHS, strict=True):
        for ending, kind, style in ((False, "N:M", "o-"), (True, "unstructured", "s--")):
            points = sorted(
                (100 * sparsity(row["pattern"]), row["ratio_both"])
                for row in rows
                if (row["width"], row["batch"]) == (width, BATCH)
                and row["pattern"].endswith("%") == ending
                and row["pattern"] != "1:1"
            )
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, style, color=colour, label=f"{width} x {width}, {kind}")
    axes.axhline(1, color="black", linewidth=1)
    axes.annotate(
        "dense (XLA)", (0.99, 1), xycoords=("axes fraction", "data"), ha="right", va="bottom"
    )
    axes.set(
        title=f"One layer, forward and backward, batch {BATCH}",
        xlabel="weights left out, %",
        ylabel="times faster than dense",
        ylim=(0, None),
    )
    if axes.lines:
        axes.legend(frameon=False)


def draw_train(axes: plt.Axes, settings: list[dict]) -> None:
    """Steps per second, a group of bars per setting, the ratio to Stable-Baselines3 on each."""
    names = list(dict.fromkeys(row["name"] for one in settings for row in one["rows"]))
    breadth = 0.8 / len(names)
    for i, name in enumerate(names):
        at, speeds, ratios = [], [], []
        for j, one in enumerate(settings):
            for row in one["rows"]:
                if row["name"] == name:
                    at.append(j + (i - (len(names) - 1) / 2) * breadth)
                    speeds.append(row["steps_per_second"])
                    ratios.append(f"{row['ratio_to_sb3']:.1f}x")
        label = {"sb3": "Stable-Baselines3", "sbx": "SBX"}.get(name, f"sparl, {name}")
        bars = axes.bar(at, speeds, breadth, label=label)
        axes.bar_label(bars, ratios, fontsize=7)
    axes.set_xticks(range(len(settings)), [f"{one['env']}\n2x{one['width']}" for one in settings])
    axes.set(title="Whole training, TD3, batch 256", ylabel="steps per second")
    axes.legend(frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("layers", type=Path)
    parser.add_argument("train", type=Path, nargs="+")
    parser.add_argument("png", type=Path)
    asked = parser.parse_args()
    found = [json.loads(path.read_text()) for path in asked.train]
    # A file has one setting, or a list of several.
    settings = [one for each in found for one in (each if isinstance(each, list) else [each])]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    draw_layers(left, json.loads(asked.layers.read_text())["rows"])
    draw_train(right, settings)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(asked.png, dpi=150)


if __name__ == "__main__":
    main()
