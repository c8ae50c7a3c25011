"""How far a sweep has come: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.live import Live
from rich.table import Table

from sparl.sweeps.folder import Standing
from sparl.sweeps.study import Job
from sparl.training import Console, duration_text, return_text

PLAIN_SECONDS = 60.0
"""Least time between two plain lines that nothing has ended before."""
State = Literal["waiting", "running", "done", "pruned", "failed", "stopped"]


@dataclass(frozen=True)
class Tally:
    """What some runs have come to together."""

    runs: int
    done: int
    running: int
    failed: int
    pruned: int
    steps_per_second: float
    """Of those that are running, together."""
    best_return: float | None
    """Of any evaluation."""
    seconds_left: float | None
    """If all goes on at that speed; None where there is none to tell it by."""

    @classmethod
    def of(cls, jobs: Sequence[Job], states: Mapping[str, State], at: Mapping[str, Standing]):
        """Of these runs; all mappings are by the runs' names."""
        states_of = [states[job.name] for job in jobs]
        running = [at[job.name] for job in jobs if states[job.name] == "running"]
        speed = sum((standing.steps_per_second or 0.0 for standing in running), 0.0)
        to_go = sum(
            job.steps - at[job.name].step
            for job in jobs
            if states[job.name] in ("waiting", "running")
        )
        returns = [r for job in jobs if (r := at[job.name].best_return) is not None]
        return cls(
            len(jobs),
            states_of.count("done"),
            len(running),
            states_of.count("failed"),
            states_of.count("pruned"),
            speed,
            max(returns, default=None),
            to_go / speed if speed > 0 else None,
        )


class Progress:
    """Shows the tallies of every variant and of all runs; a context that opens and closes it."""

    def __init__(self, jobs: Sequence[Job], quiet: bool = False, searches: bool = False) -> None:
        """
        Args:
            jobs: All runs.
            quiet: Show nothing.
            searches: They are trials of a search: no rows of variants, and some may be pruned.
        """
        self._jobs, self._searches = jobs, searches
        self._groups: dict[tuple[str, str], list[Job]] = {}
        for job in jobs:
            self._groups.setdefault((job.env, job.variant), []).append(job)
        self.console = Console(stderr=True, quiet=quiet, soft_wrap=True)
        self._live: Live | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        if self.console.is_terminal and not self.console.quiet:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def note(self, text: str) -> None:
        """Prints a sentence for the user, above the live table."""
        self.console.print(text)

    def show(
        self, states: Mapping[str, State], at: Mapping[str, Standing], ended: bool = False
    ) -> None:
        """Shows how far all runs are.

        Args:
            states: By the runs' names.
            at: By the runs' names.
            ended: Whether a run has just ended: then plain output has a line of it.
        """
        if self._live is not None:
            self._live.update(self.table(states, at), refresh=True)
        elif ended or time.monotonic() - self._last_line > PLAIN_SECONDS:
            self._last_line = time.monotonic()
            self.console.print(_line(Tally.of(self._jobs, states, at)))

    def table(self, states: Mapping[str, State], at: Mapping[str, Standing]) -> Table:
        """A row for every variant in every environment, and one for all."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        table.add_column("environment")
        table.add_column("variant")
        pruned = ["pruned"] if self._searches else []
        headings = ("done", "running", *pruned, "failed", "steps/s", "best return", "time left")
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for (env, variant), jobs in () if self._searches else self._groups.items():
            tally = Tally.of(jobs, states, at)
            # Runs of one variant have to wait for others: no time is told of it.
            table.add_row(env, variant, *self._cells(tally), "")
        table.add_section()
        tally = Tally.of(self._jobs, states, at)
        table.add_row(
            "all", "", *self._cells(tally), duration_text(tally.seconds_left), style="bold"
        )
        return table

    def _cells(self, tally: Tally) -> list[str]:
        best = "" if tally.best_return is None else return_text(tally.best_return)
        speed = f"{tally.steps_per_second:.0f}" if tally.steps_per_second else ""
        counts = [f"{tally.done}/{tally.runs}", str(tally.running or "")]
        counts += [str(tally.pruned or "")] if self._searches else []
        return [*counts, str(tally.failed or ""), speed, best]


def _line(tally: Tally) -> str:
    figures = [f"{tally.done} of {tally.runs} runs done", f"{tally.running} running"]
    figures += [f"{tally.pruned} pruned"] if tally.pruned else []
    figures += [f"{tally.failed} failed"] if tally.failed else []
    figures += [f"{tally.steps_per_second:.0f} steps/s"] if tally.steps_per_second else []
    figures += (
        [] if tally.best_return is None else [f"best return {return_text(tally.best_return)}"]
    )
    left = duration_text(tally.seconds_left)
    return ", ".join([*figures, f"{left} left"] if left and tally.running else figures)
