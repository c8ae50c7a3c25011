"""Episodes until a task is solved: returns by episode, and tables of when they reach a bar.

`episodes.csv` has each agent at its best setting, `grid.csv` at all of them on other seeds. A row
is a run, with the returns of its episodes until the last bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from drawing import style
from drawing.data import rows
from drawing.output import Output

EPISODES, GRID = "episodes.csv", "grid.csv"
NEWEST = 10
"""Episodes that the mean is taken of."""


class Setting(NamedTuple):
    """What is chosen for each agent: its options by these names."""

    learning_rate: float
    value_learning_rate: float
    entropy_bonus: float

    def __str__(self) -> str:
        return ", ".join(f"{value:g}" for value in self)


@dataclass(frozen=True)
class Task:
    """An environment, and mean returns in ascending order; settings are chosen by the last."""

    env: str
    bars: tuple[float, ...]


TASKS = {
    "cartpole": Task("CartPole-v1", (195.0, 475.0)),
    "acrobot": Task("Acrobot-v1", (-100.0,)),
}
"""By the folder of the results."""

Runs = dict[tuple[str, Setting], list[list[float]]]
"""Returns of every episode of each seed, by agent and setting."""


def outputs(folder: Path) -> list[Output]:
    """Of a task's folder: `episodes.csv`, and `grid.csv` if several settings were tried."""
    episodes, grid = folder / EPISODES, folder / GRID
    both = (episodes, grid) if grid.exists() else (episodes,)
    return [
        Output(folder / "curves.png", (episodes,), picture),
        Output(folder / "table.md", both, table),
    ]


def read(path: Path) -> Runs:
    """What a file has, agents and settings in its order."""
    found: Runs = {}
    for row in rows(path):
        setting = Setting(*(float(row[name]) for name in Setting._fields))
        returns = [float(value) for value in row["returns"].split()]
        found.setdefault((row["agent"], setting), []).append(returns)
    return found


def means(returns: Sequence[float]) -> np.ndarray:
    """[episodes - 9] The mean of the newest ten, from the tenth on."""
    return np.convolve(returns, np.full(NEWEST, 1 / NEWEST), "valid")


def episodes_to(bar: float, returns: Sequence[float]) -> float:
    """Episodes until the mean of the newest ten is at least `bar`; inf if it never is."""
    if len(returns) < NEWEST:
        return math.inf
    found = np.flatnonzero(means(returns) >= bar - 1e-9)
    return float(found[0] + NEWEST) if len(found) else math.inf


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median and quartiles, of values among which inf stands for never (so no interpolation)."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), method="higher")
    return float(middle), float(low), float(high)


def table(files: dict[str, Path]) -> str:
    """Of each agent, how many episodes it needs for each bar; and the grid."""
    bars = TASKS[files[EPISODES].parent.name].bars
    header = ["agent", "step sizes, entropy's weight", "seeds"]
    for bar in bars:
        header += [f"episodes to {bar:g}, median (quartiles)", "reached"]
    lines = []
    for (agent, setting), runs in read(files[EPISODES]).items():
        cells = [agent, str(setting), str(len(runs))]
        for bar in bars:
            cells += _reached(bar, runs)
        lines.append(cells)
    text = style.table(header, lines)
    if GRID in files:
        text += f"\nThe grid: episodes to {bars[-1]:g}, median (quartiles), reached.\n\n"
        text += _grid(read(files[GRID]), bars[-1])
    return text


def _grid(tried: Runs, bar: float) -> str:
    agents, settings = (list(dict.fromkeys(of)) for of in zip(*tried, strict=True))
    return style.table(
        ["step sizes, entropy's weight", *agents],
        [[str(s), *(", ".join(_reached(bar, tried[a, s])) for a in agents)] for s in settings],
    )


def _reached(bar: float, runs: Sequence[Sequence[float]]) -> tuple[str, str]:
    """Median and quartiles of the episodes needed, and how many runs reach the bar."""
    values = [episodes_to(bar, returns) for returns in runs]
    middle, low, high = (f"{v:.0f}" if math.isfinite(v) else "never" for v in quartiles(values))
    return f"{middle} ({low} to {high})", str(sum(map(math.isfinite, values)))


def picture(files: dict[str, Path]) -> Figure:
    """Mean return of the newest ten episodes against episodes: median of seeds, and quartiles."""
    task, found = TASKS[files[EPISODES].parent.name], read(files[EPISODES])
    longest = max(len(returns) for runs in found.values() for returns in runs)
    figure = style.blank(8, 4.8)
    axes, ends = figure.subplots(), []
    episodes = np.arange(NEWEST, longest + 1)
    for ((agent, _), runs), colour in zip(found.items(), style.PALETTE, strict=False):
        curves = [means(returns) for returns in runs]
        same = np.array([np.pad(c, (0, len(episodes) - len(c)), mode="edge") for c in curves])
        low, middle, high = np.quantile(same, (0.25, 0.5, 0.75), axis=0)
        axes.plot(episodes, middle, color=colour, lw=1.4)
        axes.fill_between(episodes, low, high, color=colour, alpha=0.12, lw=0)
        ends.append(style.End(longest, middle[-1], agent, colour))
    for bar in task.bars:
        axes.axhline(bar, color="grey", ls=":", lw=1)
    axes.set(
        xscale="log",
        xlim=(NEWEST, longest),
        xlabel="episodes",
        ylabel=f"return, mean of {NEWEST} episodes",
        title=f"{task.env}: primal_dual/{files[EPISODES].parent.name}",
    )
    axes.xaxis.set_major_formatter("{x:g}")
    style.plain(axes)
    style.label_ends(axes, ends)
    style.caption(
        figure,
        f"Lines: median of {len(runs)} seeds; bands: quartiles; dotted: the bars. A run that has",
        "reached the last bar, or its last step, stays where it is.",
    )
    return figure
