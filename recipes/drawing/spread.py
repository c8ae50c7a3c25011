"""Regret of the Lasso and of ridge regression where data do not name what matters, by d and s."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drawing import regret, style
from drawing.output import Output
from drawing.regret import SHADES, Row

SPREAD = "spread.csv"
FEW, MIDDLE = 2, 256
"""s where d varies, and m where s varies."""
SHOWN = (256, 1024, 4096, 16384, 65536, 262144)
"""N in the table."""
LASSO = "LassoFQI"


def outputs(folder: Path) -> list[Output]:
    """Of `results/sparse_mdp`; none without the data."""
    data = (folder / SPREAD,)
    made = (
        Output(folder / "spread.png", data, picture),
        Output(folder / "spread.md", data, table),
    )
    return list(made) if data[0].exists() else []


def table(files: dict[str, Path]) -> str:
    """Mean regret of each learner and instance, and how often its policy is the best one."""
    found = regret.read(files[SPREAD])
    header = ["learner", "d", "s", "seeds", *(f"N = {n:,}" for n in SHOWN)]
    lines = [
        _line([row for row in found if (row["m"], row["s"], row["learner"]) == (*of, name)])
        for of in _instances(found)
        for name in dict.fromkeys(row["learner"] for row in found)
    ]
    text = style.table([*header, f"best policy, N = {SHOWN[-1]:,}"], lines)
    return f"{text}\n{_exponent(found)}\n"


def _instances(found: Sequence[Row]) -> list[tuple[int, int]]:
    """m and s, those of s = `FEW` first."""
    return sorted({(row["m"], row["s"]) for row in found}, key=lambda of: (of[1] != FEW, *of))


def _line(rows: Sequence[Row]) -> list[str]:
    seeds = {row["seed"] for row in rows}
    means = (np.mean([row["regret"] for row in rows if row["N"] == n]) for n in SHOWN)
    best = np.mean([row["best"] for row in rows if row["N"] == SHOWN[-1]])
    of = rows[0]
    cells = [of["learner"], str(of["d"]), str(of["s"]), str(len(seeds))]
    return [*cells, *(f"{mean:,.0f}" for mean in means), f"{best:.0%}"]


def _exponent(found: Sequence[Row]) -> str:
    """How the Lasso's regret grows with the features that matter, of which v and b are two."""
    last = [r for r in found if (r["learner"], r["m"], r["N"]) == (LASSO, MIDDLE, SHOWN[-1])]
    counts = np.array(sorted({row["s"] for row in last}))
    means = np.array([np.mean([r["regret"] for r in last if r["s"] == s]) for s in counts])
    slope = np.polyfit(np.log(counts + 2), np.log(means), 1)[0]
    return (
        f"At d = {MIDDLE + 2} and N = {SHOWN[-1]:,} the mean regret of {LASSO} grows with the "
        f"number of features that matter, s + 2, to the power of {slope:.2f}."
    )


def picture(files: dict[str, Path]) -> Figure:
    """Mean regret against N: by d for both learners, and by s for the Lasso; 95 % intervals."""
    found = regret.read(files[SPREAD])
    figure = style.blank(13, 4.6)
    panels = figure.subplots(1, 3, sharey=True)
    ms = sorted({row["m"] for row in found if row["s"] == FEW})
    ridges = [_best_ridge(found, m) for m in ms]
    ends = []
    for axes, title, names in (
        (panels[0], LASSO, [LASSO] * len(ms)),
        (panels[1], "ridge FQI", ridges),
    ):
        of = {
            f"d = {m + 2}": [r for r in found if (r["m"], r["s"], r["learner"]) == (m, FEW, name)]
            for m, name in zip(ms, names, strict=True)
        }
        ends.append(_draw(axes, of))
        axes.set_title(f"{title}, s = {FEW}")
    some = [row for row in found if (row["m"], row["learner"]) == (MIDDLE, LASSO)]
    counts = sorted({row["s"] for row in some})
    ends.append(_draw(panels[2], {f"s = {s}": [r for r in some if r["s"] == s] for s in counts}))
    panels[2].set_title(f"{LASSO}, d = {MIDDLE + 2}")
    for axes, at in zip(panels, ends, strict=True):
        style.label_ends(axes, at)
    panels[0].set_ylabel("regret")
    style.caption(
        figure,
        "Lines: mean over the seeds; bands: its 95 % interval. For each d the ridge that has, of "
        "three penalties, the least regret at the largest N.",
    )
    return figure


def _best_ridge(found: Sequence[Row], m: int) -> str:
    last = [r for r in found if (r["m"], r["s"], r["N"]) == (m, FEW, SHOWN[-1])]
    names = sorted({row["learner"] for row in last} - {LASSO})
    return min(names, key=lambda n: np.mean([r["regret"] for r in last if r["learner"] == n]))


def _draw(axes: Axes, lines: dict[str, list[Row]]) -> list[style.End]:
    """A line for each; gives their ends, to be labelled when all panels are drawn."""
    ends = []
    for (label, rows), colour in zip(lines.items(), SHADES, strict=False):
        at = np.array(sorted({row["N"] for row in rows}))
        seeds = sorted({row["seed"] for row in rows})
        by = {(row["seed"], row["N"]): row["regret"] for row in rows}
        values: NDArray[np.float64] = np.array([[by[s, n] for n in at] for s in seeds])
        middle = values.mean(0)
        half = 1.96 * values.std(0, ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else 0
        axes.plot(at, middle, "-o", ms=2.5, lw=1.3, color=colour)
        axes.fill_between(at, np.maximum(middle - half, 1), middle + half, color=colour, alpha=0.2)
        ends.append(style.End(float(at[-1]), float(middle[-1]), label, colour))
    axes.set(xscale="log", yscale="log", xlabel="episodes N")
    style.plain(axes)
    return ends
