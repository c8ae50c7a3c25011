"""Variants side by side on one environment: learning curves, and a table of what they came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from scipy.stats import trim_mean

from drawing import style
from drawing.data import CURVES, RUNS, SPEEDS, Rows, final_return, recorded, speeds, variants
from drawing.output import Output

HEADER = (
    *("variant", "hidden neurons", "weights of the policy", "bytes", "average compression"),
    *("final return of each seed", "IQM", "of dense", "steps/s"),
)
SIZES = ("neurons", "weights_kept", "bytes")
RATIO = "average_compression_ratio"


def outputs(folder: Path) -> list[Output]:
    """Of a folder with `curves.csv`, and `runs.csv` and `speeds.json` if they are there."""
    curves, runs, timed = (folder / name for name in (CURVES, RUNS, SPEEDS))
    timed = [timed] if timed.exists() else []
    runs = [runs] if runs.exists() else []
    return [
        Output(folder / "curves.png", (curves, *timed), picture),
        Output(folder / "table.md", (curves, *runs, *timed), table),
    ]


def table(files: dict[str, Path]) -> str:
    """A row for each variant, dense first. Sizes may differ from seed to seed: their median."""
    curves, known = recorded(files[CURVES]), recorded(files.get(RUNS))
    measured, dense = speeds(files.get(SPEEDS)), None
    lines = []
    for name in sorted(variants(curves), key=lambda name: name != "dense"):
        of_it = [key for key in curves if key[0] == name]
        returns = [final_return(curves[key]) for key in of_it]
        runs = [known[key][0] for key in of_it if key in known]
        middle = trim_mean(returns, 0.25)
        dense = middle if name == "dense" else dense
        ratios = [float(run[RATIO]) for run in runs if run[RATIO]]
        lines.append(
            [
                name,
                *(_median([int(run[size]) for run in runs if run[size]]) for size in SIZES),
                f"{np.mean(ratios):.3f}" if ratios else "",
                ", ".join(f"{value:.0f}" for value in returns),
                f"{middle:.0f}",
                f"{middle / dense:.2f}" if dense else "",
                f"{measured[name]:,.0f}" if name in measured else "",
            ]
        )
    return style.table(HEADER, lines)


def _median(values: Sequence[int]) -> str:
    """The upper one of two in the middle; nothing of none."""
    return f"{sorted(values)[len(values) // 2]:,}" if values else ""


@dataclass(frozen=True, eq=False)
class Curve:
    """A variant's evaluation returns [steps] over its seeds, at the steps that all of them have."""

    name: str
    seeds: int
    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @staticmethod
    def of(name: str, runs: Sequence[Rows]) -> Curve:
        """Of the rows of each seed's curve."""
        at = [{int(row["step"]): float(row["eval_return"]) for row in run} for run in runs]
        steps = sorted(set.intersection(*map(set, at)))
        returns = np.array([[run[step] for step in steps] for run in at])
        band = returns.mean(0), returns.min(0), returns.max(0)
        return Curve(name, len(runs), np.array(steps), *band)


def picture(files: dict[str, Path]) -> Figure:
    """Mean evaluation return against steps, a line for each variant and a band over its seeds.

    Where speeds were measured, a second panel has the same against the seconds that so many steps
    take at them.
    """
    found, measured = recorded(files[CURVES]), speeds(files.get(SPEEDS))
    curves = [
        Curve.of(name, [run for (own, _), run in found.items() if own == name])
        for name in variants(found)
    ]
    timed = [curve for curve in curves if curve.name in measured]
    looks = style.looks([curve.name for curve in curves])
    figure = style.blank(12.5 if timed else 8, 4.8)
    panels = figure.subplots(1, 2 if timed else 1, sharey=True, squeeze=False)[0]
    _draw(panels[0], {curve: curve.steps for curve in curves}, looks)
    panels[0].set(xlabel="environment steps", ylabel="evaluation return")
    panels[0].xaxis.set_major_formatter(EngFormatter(sep=""))
    told = [_seeds_told({curve.seeds for curve in curves})]
    if timed:
        _draw(panels[1], {curve: curve.steps / measured[curve.name] for curve in timed}, looks)
        panels[1].set(xlabel="seconds")
        left = [curve.name for curve in curves if curve not in timed]
        told.append(
            "Seconds: environment steps divided by the variant's steps per second, the median in "
            f"{SPEEDS}, measured one run at a time on all cores of an idle machine."
        )
        if left:
            told.append(f"Not measured: {', '.join(left)}.")
    env = next(iter(found.values()))[0]["env"].rpartition(":")[2]
    figure.suptitle(env, fontsize=style.TITLE_FONT)
    style.caption(figure, *told)
    return figure


def _seeds_told(numbers: set[int]) -> str:
    if numbers == {1}:
        return "One seed each."
    each = f"{min(numbers)} each" if len(numbers) == 1 else "their number in brackets"
    return f"Lines: mean over the seeds ({each}). Bands: from the lowest to the highest seed."


def _draw(
    axes: Axes, places: Mapping[Curve, NDArray[np.float64]], looks: Mapping[str, style.Look]
) -> None:
    """Every curve at its places on the x axis. Curves that are the same are one line."""
    differ = len({curve.seeds for curve in places}) > 1
    lines: dict[bytes, list[Curve]] = {}
    for curve, x in places.items():
        lines.setdefault(x.tobytes() + curve.mean.tobytes(), []).append(curve)
    ends = []
    for same in lines.values():
        curve, x = same[0], places[same[0]]
        look = looks[curve.name]
        axes.plot(x, curve.mean, look.style, color=look.colour, lw=1.4)
        axes.fill_between(x, curve.low, curve.high, alpha=0.08, color=look.colour, lw=0)
        names = [f"{c.name} ({c.seeds})" if differ else c.name for c in same]
        ends.append(style.End(x[-1], curve.mean[-1], ", ".join(names), look.colour))
    axes.set_xlim(0, max(end.x for end in ends))
    style.plain(axes)
    style.label_ends(axes, ends)
