"""The progress of a run as a person sees it: a live line on a terminal or in a notebook, plain
lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from sparl import validation
from sparl.agents import Agent
from sparl.config import RunConfig, Show
from sparl.training.console import Console
from sparl.training.evaluation import return_text
from sparl.training.notebook import NotebookLine, in_notebook

PLAIN_SECONDS = 10.0
"""Least time between two plain lines without an evaluation."""
TICK = 50
"""Steps between two updates of the bar."""
BAR = 10
"""Least characters of the bar."""


class Piece(NamedTuple):
    """A figure of the line."""

    text: str
    importance: int
    """Pieces of the lowest are left out first where the line is too narrow for all."""


class Progress:
    """Shows step, phase, returns, sparsity, speed and time left, as far as there is room."""

    def __init__(
        self, run: RunConfig, agent: Agent, quiet: bool = False, show: Show | None = None
    ) -> None:
        """
        Args:
            quiet: Print nothing, notes neither.
            show: How; rich on a terminal and in a notebook, and else plain, if not given.

        Raises:
            BadValue: There is no such way.
        """
        if show is not None:
            validation.one_of(get_args(Show), progress=show)
        self._run, self._starts = run, agent.learning_starts
        self._first_phase = agent.first_phase
        self.console = Console(stderr=True, quiet=quiet, soft_wrap=True)
        notebook = in_notebook()
        usual = "rich" if notebook or self.console.is_terminal else "plain"
        self._show: Show = "off" if quiet else show or usual
        self._line = NotebookLine() if notebook and self._show == "rich" else None
        self._live: RichProgress | None = None
        self._task: Any = None
        self._last_line = 0.0

    def start(self, step: int) -> None:
        """Shows a bar where that is wanted.

        Args:
            step: The step that the run starts or resumes at.
        """
        if self._show != "rich" or self._line is not None:
            return
        self._live = RichProgress(
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._live.start()
        phase = self._phase(step, 0)
        self._task = self._live.add_task(
            "train", total=self._run.steps, completed=step, figures=phase
        )

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
        pieces = self._pieces(row, evaluations)
        if self._live is not None:
            # Beside the figures: the count, the bar and the time left, with spaces between.
            beside = 2 * len(str(self._run.steps)) + 1 + BAR + len("0:00:00") + 4
            text = fitted(pieces, self.console.width - beside)
            self._live.update(self._task, completed=row["step"], figures=text)
            return
        now, waited = time.monotonic(), row["eval_return"] is not None
        if self._show == "off" or not (
            waited or self._line or now - self._last_line >= PLAIN_SECONDS
        ):
            return
        self._last_line = now
        # Random steps before learning begins are many times faster, so they tell no time left.
        if row["updates"] and row["steps_per_second"] > 0:
            left = (self._run.steps - row["step"]) / row["steps_per_second"]
            pieces.append(Piece(f"{duration_text(left)} left", 4))
        pieces.insert(0, Piece(f"step {row['step']}/{self._run.steps}", 9))
        text = fitted(pieces, self.console.width)
        if self._line is not None:
            self._line.show(text)
        else:
            self.console.print(text)

    def _pieces(self, row: dict[str, Any], evaluations: list[tuple[int, float]]) -> list[Piece]:
        best = max(evaluations, key=lambda evaluation: evaluation[1], default=None)
        found = [
            Piece(self._phase(row["step"], row["updates"]), 7),
            Piece(_figure("return", row["episode_return"]), 3),
            Piece(_figure("eval", evaluations[-1][1] if evaluations else None), 6),
            Piece("" if best is None else f"best {return_text(best[1])} at {best[0]:,}", 5),
            Piece(f"sparsity {row['sparsity']:.0%}", 1),
            Piece(f"{row['steps_per_second']:.0f} steps/s", 2),
            *(Piece(text, 0) for text in _distributed(row)),
        ]
        return [piece for piece in found if piece.text]

    def _phase(self, step: int, updates: int) -> str:
        """What the run does before it learns; empty from then on."""
        until = min(self._starts, self._run.steps)  # an imported policy never learns
        if updates or step >= until:
            return ""
        does = "acting" if self._run.begun_from else self._first_phase
        return f"{does} until {until:,}"


def fitted(pieces: Sequence[Piece], width: int) -> str:
    """Gives the pieces as a line, without the least important ones where it would be too wide."""
    kept = list(pieces)
    while len(kept) > 1 and len("  ".join(piece.text for piece in kept)) > width:
        kept.remove(min(kept, key=lambda piece: piece.importance))
    return "  ".join(piece.text for piece in kept)


def _distributed(row: dict[str, Any]) -> list[str]:
    """The figures of a run with actors."""
    if "actors" not in row:
        return []
    ratio, staleness = row["samples_per_insert"], row["staleness"]
    figures = [f"{row['actors']} actors"]
    figures += [] if ratio is None else [f"{ratio:.2f} samples/insert"]
    return figures + ([] if staleness is None else [f"{staleness:.0f} updates stale"])


def _figure(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {return_text(value)}"


def duration_text(seconds: float | None) -> str:
    """Seconds as H:MM:SS; empty where they are not known."""
    if seconds is None:
        return ""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
