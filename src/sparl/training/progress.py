"""The progress of a run as a person sees it: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from sparl.training.console import Console

PLAIN_SECONDS = 10.0
"""Least time between two plain lines without an evaluation."""

TICK = 50
"""Steps between two updates of the bar."""


class Progress:
    """Shows step, return, evaluation return, sparsity, steps per second and time left."""

    def __init__(self, steps: int, quiet: bool = False) -> None:
        self.steps = steps
        self.console = Console(stderr=True, quiet=quiet, soft_wrap=True)
        self._live: RichProgress | None = None
        self._task: Any = None
        self._last_line = 0.0
        self._eval: float | None = None

    def start(self, step: int) -> None:
        """Shows a bar if there is a terminal.

        Args:
            step: The step that the run starts or resumes at.
        """
        if not self.console.is_terminal or self.console.quiet:
            return
        self._live = RichProgress(
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._live.start()
        self._task = self._live.add_task("train", total=self.steps, completed=step, figures="")

    def stop(self) -> None:
        """Removes the bar."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def note(self, text: str) -> None:
        """Prints a sentence for the user, above the live line."""
        self.console.print(text)

    def tick(self, step: int, steps: int = 1) -> None:
        """Moves the bar between two log points.

        Args:
            step: Steps so far.
            steps: Steps since the last call.
        """
        if self._live is not None and step % TICK < steps:
            self._live.update(self._task, completed=step)

    def row(self, row: dict[str, Any], evaluations: list[tuple[int, float]]) -> None:
        """Shows a row of the log; plain output skips some rows without an evaluation.

        Args:
            row: The row, by column.
            evaluations: (step, mean return) of every evaluation so far.
        """
        if evaluations:
            self._eval = evaluations[-1][1]
        figures = [
            _figure("return", row["episode_return"]),
            _figure("eval", self._eval),
            f"sparsity {row['sparsity']:.0%}",
            f"{row['steps_per_second']:.0f} steps/s",
            _distributed(row),
        ]
        text = "  ".join(figure for figure in figures if figure)
        if self._live is not None:
            self._live.update(self._task, completed=row["step"], figures=text)
            return
        now = time.monotonic()
        if row["eval_return"] is None and now - self._last_line < PLAIN_SECONDS:
            return
        self._last_line = now
        # Random steps before learning begins are many times faster, so they tell no time left.
        if row["updates"] and row["steps_per_second"] > 0:
            left = (self.steps - row["step"]) / row["steps_per_second"]
            text += f"  {_duration(left)} left"
        self.console.print(f"step {row['step']}/{self.steps}  {text}")


def _distributed(row: dict[str, Any]) -> str:
    """The figures of a run with actors."""
    if "actors" not in row:
        return ""
    ratio, staleness = row["samples_per_insert"], row["staleness"]
    figures = [f"{row['actors']} actors"]
    figures += [] if ratio is None else [f"{ratio:.2f} samples/insert"]
    figures += [] if staleness is None else [f"{staleness:.0f} updates stale"]
    return "  ".join(figures)


def _figure(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {value:.1f}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
