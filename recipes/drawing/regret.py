"""Regret of learners on the hard sparse linear MDP, against episodes N and dimension d = m + 4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drawing import data, style
from drawing.output import Output

REGRET = "regret.csv"
H = 6
"""Steps of an episode."""
EXPLORATORY = ("LassoFQI", "LassoFQI, cross-validated", "ridge FQI")
"""Learners that explore by the exploratory policy, fit and commit: one run for each N."""
UNIFORM = "LassoFQI, uniform exploration"
ONLINE = ("epsilon-greedy LSVI", "LSVI-UCB")
"""Learners that never stop learning: one curve."""
NAMES = (*EXPLORATORY, UNIFORM, *ONLINE)
SHOWN = (64, 256, 1024, 4096, 16384, 65536)
"""N in the table."""
SHADES = ("#E69F00", "#D55E00", "#CC79A7", "#0072B2", "#000000")
"""Of ascending d."""

Row = dict[str, Any]


def outputs(folder: Path) -> list[Output]:
    """Of `results/sparse_mdp`."""
    regret = (folder / REGRET,)
    return [
        Output(folder / "regret.png", regret, picture),
        Output(folder / "table.md", regret, table),
    ]


def read(path: Path) -> list[Row]:
    """The rows of a file as numbers, without empty cells; none if there is no file."""
    kinds: dict[str, Callable[[str], Any]] = {"learner": str, "regret": float}
    return [
        {key: kinds.get(key, int)(value) for key, value in row.items() if value}
        for row in (data.rows(path) if path.exists() else [])
    ]


def curves(found: list[Row], name: str, m: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """N [points] and regret [seeds, points] of a learner; without seeds if it was not run."""
    of_it = [row for row in found if row["learner"] == name and row["m"] == m]
    at = sorted({row["N"] for row in of_it})
    seeds = sorted({row["seed"] for row in of_it})
    by = {(row["seed"], row["N"]): row["regret"] for row in of_it}
    return np.array(at), np.array([[by[seed, n] for n in at] for seed in seeds])


def slope(n: NDArray[Any], regret: NDArray[np.float64]) -> tuple[float, float, float]:
    """The exponent of mean regret in N, and its 95 % interval over the seeds (bootstrap)."""

    def fitted(of: NDArray[np.float64]) -> float:
        return float(np.polyfit(np.log(n), np.log(of.mean(0)), 1)[0])

    rng = np.random.default_rng(0)
    again = [fitted(regret[rng.integers(len(regret), size=len(regret))]) for _ in range(1000)]
    return fitted(regret), *map(float, np.percentile(again, [2.5, 97.5]))


def bound(m: int, n: int) -> float:
    """The least regret that is expected without an exploratory policy, for N <= m."""
    return (H - 1) * n * (1 - (n + 1) / (2 * m))


def table(files: dict[str, Path]) -> str:
    """Mean regret of each learner and d, its exponent, and what the curves say of the theory."""
    found = read(files[REGRET])
    ms = sorted({row["m"] for row in found})
    header = ["learner", "d", "seeds", *(f"N = {n:,}" for n in SHOWN)]
    lines = [line for name in NAMES for m in ms if (line := _line(found, name, m))]
    told = [_spread(found, [m for m in ms if m >= 64])]
    told += [_beside_the_bound(found, name, ms) for name in (UNIFORM, *ONLINE)]
    text = style.table([*header, "exponent, 95 %", "secret found"], lines)
    return "\n".join([text, *filter(None, told)]) + "\n"


def _line(found: list[Row], name: str, m: int) -> list[str]:
    n, regret = curves(found, name, m)
    if not len(regret):
        return []
    cells = [f"{regret[:, n == at].mean():,.0f}" if at in n else "" for at in SHOWN]
    of_it = [row for row in found if row["learner"] == name and row["m"] == m]
    recovered = [row["recovered"] for row in of_it if "recovered" in row]
    few = n <= m if name in ONLINE else n > 0  # the part where N < d
    middle, low, high = slope(n[few], regret[:, few])
    cells += [f"{middle:.2f} [{low:.2f}, {high:.2f}]"]
    cells += [f"{np.mean(recovered):.1%}" if recovered else ""]
    return [name, str(m + 4), str(len(regret)), *cells]


def _spread(found: list[Row], ms: list[int]) -> str:
    """How far LassoFQI's curves of different d are apart."""
    means = [curves(found, "LassoFQI", m)[1].mean(0) for m in ms]
    if len(means) < 2:
        return ""
    worst = (np.max(means, axis=0) / np.min(means, axis=0)).max()
    return f"Largest ratio of LassoFQI's curves from d = {min(ms) + 4} on: {worst:.2f}."


def _beside_the_bound(found: list[Row], name: str, ms: list[int]) -> str:
    ratio, upper = [], []
    for m in ms:
        n, regret = curves(found, name, m)
        for at in n[n <= m] if len(regret) else ():
            of_it = regret[:, n == at]
            error = of_it.std(ddof=1) / np.sqrt(len(of_it)) if len(of_it) > 1 else 0.0
            ratio.append(of_it.mean() / bound(m, int(at)))
            upper.append((of_it.mean() + 1.96 * error) / bound(m, int(at)))
    if not ratio:
        return ""
    return (
        f"{name}: mean regret for N <= m is {min(ratio):.2f} to {max(ratio):.2f} of the "
        f"lower bound; the upper ends of the intervals are at least {min(upper):.2f} of it."
    )


def picture(files: dict[str, Path]) -> Figure:
    """A panel for each learner: mean regret against N, a line for each d, with 95 % intervals."""
    found = read(files[REGRET])
    figure = style.blank(12, 7.5)
    panels = figure.subplots(2, 3, sharex=True, sharey=True).reshape(-1)
    ms = sorted({row["m"] for row in found})
    for axes, name in zip(panels, NAMES, strict=True):
        for colour, m in zip(SHADES, ms, strict=False):
            n, regret = curves(found, name, m)
            if len(regret):
                _draw(axes, n, regret, colour, f"d = {m + 4}")
            if name not in EXPLORATORY:
                few = np.unique(np.geomspace(4, m, 30).astype(int))
                axes.plot(few, [bound(m, int(at)) for at in few], ":", lw=1, color=colour)
        axes.set(xscale="log", yscale="log", title=name)
        style.plain(axes)
    panels[0].legend(fontsize=style.LABEL_FONT, loc="upper left", frameon=False)
    for axes in panels[::3]:
        axes.set_ylabel("regret")
    for axes in panels[3:]:
        axes.set_xlabel("episodes N")
    style.caption(
        figure,
        "Lines: mean over the seeds; bands: its 95 % interval. Dotted: the least "
        "regret without an exploratory policy, for N <= m = d - 4.",
    )
    return figure


def _draw(
    axes: Axes, n: NDArray[Any], regret: NDArray[np.float64], colour: str, label: str
) -> None:
    middle = regret.mean(0)
    half = 1.96 * regret.std(0, ddof=1) / np.sqrt(len(regret)) if len(regret) > 1 else 0
    axes.plot(n, middle, "-o", ms=2.5, lw=1.3, color=colour, label=label)
    axes.fill_between(n, np.maximum(middle - half, 1), middle + half, color=colour, alpha=0.2, lw=0)
