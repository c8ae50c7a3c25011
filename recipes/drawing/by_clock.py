"""What a person gets for minutes of training: presets, their controls and the peers, by the clock.

Returns by steps are of runs that shared a machine; steps per second were measured one run at a time
on all cores of an idle one. A return after some time is the mean of the evaluations in the last
fifth of it; in brackets, where runs had ended, that at their end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drawing import style
from drawing.data import CURVES, SPEEDS, Rows, recorded, rows, speeds, variants
from drawing.minutes import return_after
from drawing.output import Output
from sparl.analysis.statistics import resolution

PEER = "sb3-sac"
"""Where this one was timed, all were."""
CHANCE = "chance.csv"
LONGER = "ten_minutes"
"""Folder, in a task's, of runs of ours that end later than the preset says: `LONGEST` is more."""
MINUTES = (2, 5, 10)
LONGEST = 10
"""Minutes that the picture shows."""
FEWEST = 3
"""Seeds without which there is no interval."""
NAMES = {
    "rnm": "sparl, 1:8",
    "rnm-512": "sparl, 1:8 of 512",
    "tiny": "sparl, tiny",
    "dense": "sparl, dense",
    "sb3-sac": "SB3, SAC",
    "sbx-crossq": "SBX, CrossQ",
    "sbx-crossq-1024": "SBX, CrossQ, as it comes",
}
HEADER = (
    *("task", "who", "steps/s", "seeds", *(f"{minute} min" for minute in MINUTES)),
    *("in common", "1:8 then", "it then", "1:8 is ahead by"),
)


@dataclass(frozen=True)
class Task:
    """A preset's environment, and what was recorded there."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def measured(self) -> dict[str, float]:
        """Steps per second of each variant."""
        return speeds(self.folder / SPEEDS)

    def runs(self) -> dict[str, dict[int, Rows]]:
        """The curve of each seed of each variant whose speed is known.

        Where a variant has longer runs these count alone: means are over seeds that go on equally.
        """
        longer = recorded(self.folder / LONGER / CURVES)
        found = recorded(self.folder / CURVES)
        found = {key: found[key] for key in found if key[0] not in variants(longer)} | longer
        return {
            name: {seed: curve for (own, seed), curve in found.items() if own == name}
            for name in NAMES
            if name in variants(found) and name in self.measured
        }

    def data(self) -> list[Path]:
        """The files."""
        files = [self.folder / name for name in (CURVES, SPEEDS, CHANCE)]
        longer = self.folder / LONGER / CURVES
        return [*files, longer] if longer.exists() else files

    def chance(self) -> dict[str, float]:
        """What random actions and zeros return."""
        return {r["actions"]: float(r["mean_return"]) for r in rows(self.folder / CHANCE)}


def outputs(folder: Path) -> list[Output]:
    """Of `results/presets`: of the presets beside which peers were timed."""
    timed = sorted(folder.glob(f"*/{SPEEDS}"))
    tasks = [Task(path.parent) for path in timed if PEER in speeds(path)]
    data = tuple(path for task in tasks for path in task.data())

    def drawn(_: dict[str, Path]) -> Figure:
        return picture(tasks)

    def told(_: dict[str, Path]) -> str:
        return table(tasks)

    made = Output(folder / "by_clock.png", data, drawn), Output(folder / "by_clock.md", data, told)
    return list(made) if tasks else []


def table(tasks: Sequence[Task]) -> str:
    """A row for each variant of each task."""
    return style.table(HEADER, [row for task in tasks for row in _rows(task)])


def _rows(task: Task) -> list[list[str]]:
    runs, measured = task.runs(), task.measured
    lines = []
    for name, seeds in runs.items():
        speed = measured[name]
        means = (_after(60 * minutes, list(seeds.values()), speed) for minutes in MINUTES)
        line = [task.name, NAMES[name], f"{speed:,.0f}", str(len(seeds)), *means]
        lines.append([*line, *([""] * 4 if name == "rnm" else _beside(task, name))])
    return lines


def _beside(task: Task, name: str) -> list[str]:
    """1:8 and another after the longest time that all seeds of both have come to, by seed."""
    runs, measured = task.runs(), task.measured
    both = "rnm", name
    ends = [float(c[-1]["step"]) / measured[v] for v in both for c in runs[v].values()]
    seconds = min(ends)
    sparse, other = (
        {seed: return_after(seconds, run, measured[v]) for seed, run in runs[v].items()}
        for v in both
    )
    shared = sorted(sparse.keys() & other.keys())
    ours = [value for s in shared if (value := sparse[s]) is not None]
    theirs = [value for s in shared if (value := other[s]) is not None]
    if not ours or len(ours) != len(theirs):
        return [""] * 4
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    resolved = resolution(differences) if len(differences) >= FEWEST else None
    told = f"{np.mean(differences):,.0f}" + (f" ± {resolved:,.0f}" if resolved is not None else "")
    each = (", ".join(f"{value:,.0f}" for value in values) for values in (ours, theirs))
    return [f"{seconds:,.0f} s", *each, told]


def _after(seconds: float, runs: Sequence[Rows], speed: float) -> str:
    """The mean over the seeds; empty where one was not evaluated yet."""
    end = min(float(run[-1]["step"]) for run in runs) / speed
    found = [return_after(min(seconds, end), run, speed) for run in runs]
    there = [value for value in found if value is not None]
    if len(there) < len(found):
        return ""
    told = f"{np.mean(there):,.0f}"
    return told if seconds <= end else f"({told})"


def picture(tasks: Sequence[Task]) -> Figure:
    """A panel for each task: the mean over the seeds against minutes, and its 95 % interval."""
    figure = style.blank(5.6 * len(tasks), 4.6)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    looks = style.looks(list(NAMES))
    for axes, task in zip(panels, tasks, strict=True):
        _draw(axes, task, looks)
        axes.set(title=task.name, xlabel="minutes of training")
    panels[0].set_ylabel("evaluation return")
    style.caption(
        figure,
        "Lines: mean over the seeds (their number in brackets). Bands: its 95 % interval, by "
        "Student's t, where there are three seeds; cut off above and below all lines.",
        "Minutes: environment steps divided by steps per second, a median of measurements on two "
        "idle cores. Evaluation is not counted.",
    )
    return figure


def _draw(axes: Axes, task: Task, looks: dict[str, style.Look]) -> None:
    ends, shown = [], [*task.chance().values()]
    for name, seeds in task.runs().items():
        at = [
            {int(row["step"]): float(row["eval_return"]) for row in run} for run in seeds.values()
        ]
        steps = np.array(sorted(set.intersection(*map(set, at))))
        minutes = steps / task.measured[name] / 60
        steps, minutes = steps[minutes <= LONGEST], minutes[minutes <= LONGEST]
        if not len(steps):
            continue
        returns = np.array([[run[step] for run in at] for step in steps.tolist()])
        mean, look = returns.mean(1), looks[name]
        shown += [mean.min(), mean.max()]
        axes.plot(minutes, mean, look.style, color=look.colour, lw=1.4)
        if len(at) >= FEWEST:
            half = np.array([resolution(list(row)) or 0.0 for row in returns])
            axes.fill_between(minutes, mean - half, mean + half, alpha=0.1, color=look.colour, lw=0)
        ends.append(style.End(minutes[-1], mean[-1], f"{NAMES[name]} ({len(at)})", look.colour))
    for actions, value in task.chance().items():
        axes.axhline(value, color="#888888", lw=0.8, ls=":")
        ends.append(style.End(LONGEST, value, actions, "#888888"))
    # Intervals of few seeds are wide: what is above and below all lines is cut off.
    room = 0.08 * (max(shown) - min(shown))
    axes.set(xlim=(0, LONGEST), ylim=(min(shown) - room, max(shown) + room))
    style.plain(axes)
    style.label_ends(axes, ends)
