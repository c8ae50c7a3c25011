"""The runs of a sweep: which of them is next, what becomes of each, and what they come to."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from sparl.analysis import Comparison, compare, tables
from sparl.errors import SparlError
from sparl.sweeps import results
from sparl.sweeps.folder import Standing, SweepFolder
from sparl.sweeps.pool import Pool
from sparl.sweeps.progress import Progress, State
from sparl.sweeps.study import Job

POLL_SECONDS = 0.1
"""Between two looks at which runs have ended."""
LOOK_SECONDS = 2.0
"""Between two looks at how far they are."""


@dataclass(frozen=True)
class Trial:
    """A trial of a search that has ended."""

    number: int
    state: Literal["done", "pruned", "failed"]
    value: float | None
    """What is maximized; None if it is not done."""
    step: int
    """Of its last evaluation; with several seeds all that came before count, too."""
    last_return: float | None
    """Of its last evaluation."""
    options: dict[str, Any]
    """Those that were searched."""
    runs: tuple[Path, ...]
    """The folders of its runs, one for each seed that it came to."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to."""

    folder: Path
    done: tuple[Path, ...]
    """The folders of the runs that are done."""
    failed: tuple[Path, ...]
    """The logs of those that failed."""
    comparisons: dict[str, Comparison]
    """By environment, as `sparl.compare` gives them; none where the runs do not compare,
    and of a search none."""
    trials: tuple[Trial, ...] = ()
    """Of a search: the best first."""


class Stop:
    """A context in which Ctrl-C and SIGTERM are counted."""

    def __init__(self) -> None:
        self.count = 0
        self.signal: int | None = None
        """The number of the last one."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        # Python lets only the main thread set handlers. In other threads signals work as usual.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.signal = number


class Runner:
    """The runs of a study, and where each stands."""

    def __init__(self, folder: SweepFolder, jobs: list[Job], quiet: bool) -> None:
        self.folder, self.jobs = folder, jobs
        self.retries = True
        """Whether runs that failed in an earlier sweep are tried again."""
        self.progress = Progress(jobs, quiet)
        self.states: dict[str, State] = {}
        """By the runs' names."""
        self._at: dict[str, Standing] = {}
        self._waiting: list[Job] = []
        self._failed: dict[str, Path] = {}

    def run(self, pool: Pool, stop: Stop) -> None:
        """Runs what is not done, in order, until all has ended or was stopped."""
        self.prepare()
        self._at = {job.name: self.folder.standing(job) for job in self.jobs}
        started: dict[str, Job] = {}
        told, looked = 0, time.monotonic()
        while True:
            if stop.count > told:
                told = stop.count
                pool.stop()
                self.progress.note(
                    "stopping: each run finishes its episode and saves; once more leaves at once"
                )
            ended = pool.ended()
            for name, status in ended.items():
                self.end(started[name], status, bool(stop.count))
            while pool.free and not stop.count and (job := self.next()) is not None:
                self.states[job.name] = "running"
                started[job.name] = job
                pool.start(job.name, self.folder.words(job), self.folder.log(job))
            if ended or time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                for name in (*ended, *pool.running):
                    self._at[name] = self.folder.standing(started[name])
                self.look([started[name] for name in pool.running], pool)
                self.progress.show(self.states, self._at, bool(ended))
            if not pool.running:
                return
            time.sleep(POLL_SECONDS)

    def prepare(self) -> None:
        """Looks which runs are done already.

        Raises:
            BadRun: The folder has other runs by their names.
        """
        self.folder.record(self.jobs)
        for job in self.jobs:
            if not self.retries and (log := self.folder.failed_log(job)).exists():
                self.states[job.name], self._failed[job.name] = "failed", log
                continue
            self.folder.bring_back(job)
            self.states[job.name] = "done" if self.folder.done(job) else "waiting"
        self._waiting = self._of("waiting")
        done = self._of("done")
        if done:
            results.record(self.folder, self.jobs, done)
            self.progress.note(f"{len(done)} of {len(self.jobs)} runs are done already")

    def next(self) -> Job | None:
        """The run to start; None if none can be started now."""
        return self._waiting.pop(0) if self._waiting else None

    def look(self, running: Sequence[Job], pool: Pool) -> None:
        """Is called now and then, as the logs of the runs grow."""

    def end(self, job: Job, status: int, stopping: bool) -> None:
        """Notes that a run's process has ended."""
        if status == 0 and self.folder.done(job):
            self.done(job)
        elif stopping:
            self.states[job.name] = "stopped"
        else:
            self.fail(job)

    def done(self, job: Job) -> None:
        """Adds a run that is done to the tables."""
        self.states[job.name] = "done"
        results.record(self.folder, self.jobs, [job])

    def fail(self, job: Job) -> None:
        """Sets a run that failed aside."""
        self.states[job.name] = "failed"
        self._failed[job.name] = self.folder.set_aside(job)
        self.progress.note(f"{job.name} FAILED: {self._failed[job.name]}")

    def result(self) -> SweepResult:
        """Compares what is done, and tells what failed."""
        comparisons: dict[str, Comparison] = {}
        for env in dict.fromkeys(job.env for job in self._of("done")):
            done = [job for job in self._of("done") if job.env == env]
            try:
                comparisons[env] = compare([self.folder.run(job) for job in done])
            except SparlError as error:
                self.progress.note(f"no comparison in {env}: {error}")
                continue
            place = self.folder.run(done[0]).parent / results.COMPARISON
            tables.save(comparisons[env], place)
        return SweepResult(self.folder.path, *self._ended(), comparisons)

    def _ended(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """The folders of the runs that are done, and the logs of those that failed."""
        done = tuple(self.folder.run(job) for job in self._of("done"))
        return done, tuple(self._failed.values())

    def _of(self, state: State) -> list[Job]:
        return [job for job in self.jobs if self.states[job.name] == state]
