"""Runs a study: as many runs side by side as asked for, what is done already left out.

Killed at any moment, or stopped, it goes on by the same call.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sparl import validation
from sparl.analysis import Comparison, tables
from sparl.errors import BadValue, SparlError
from sparl.storage import exclusive_folder, quoted
from sparl.sweeps import results
from sparl.sweeps.folder import SweepFolder
from sparl.sweeps.pool import Pool, usable_cores
from sparl.sweeps.progress import Progress, State
from sparl.sweeps.study import Job, Study
from sparl.training import Interrupted

POLL_SECONDS = 0.1
"""Between two looks at which runs have ended."""
LOOK_SECONDS = 2.0
"""Between two looks at how far they are."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to."""

    folder: Path
    done: tuple[Path, ...]
    """The folders of the runs that are done."""
    failed: tuple[Path, ...]
    """The logs of those that failed."""
    comparisons: dict[str, Comparison]
    """By environment, as `sparl.compare` gives them; none where the runs do not compare."""


def sweep(
    study: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> SweepResult:
    """Trains every variant of a study with every seed in every environment, side by side.

    Each run is a process of `sparl train` with one core. Curves and figures of the runs are added
    to `curves.csv` and `runs.csv` as they end; what `sparl compare` writes follows at the end.
    Called again after a kill, Ctrl-C or a failure, it goes on with what is not done.

    Args:
        study: A YAML file, or what such a file holds: `envs`, `variants`, `seeds`, `steps` and
            `options`.
        out: The folder of the sweep; `runs/STUDY` if not given, by the file's name.
        jobs: Runs side by side; one for each core if not given.
        quiet: Print no progress.

    Returns:
        The run folders, logs of failed runs, and comparisons. Failures are told, not raised.

    Raises:
        SparlError: The study cannot be run; nothing has begun then.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, with all runs saved.
    """
    cores = usable_cores()
    size = len(cores) if jobs is None else jobs
    validation.at_least(1, jobs=size)
    of_file = None if isinstance(study, Mapping) else Path(study)
    if out is None and of_file is None:
        raise BadValue("out is missing: a study that is no file has no name to call a folder by")
    planned = Study.of(study) if isinstance(study, Mapping) else Study.read(Path(study))
    folder = SweepFolder(Path("runs") / (of_file or Path()).stem if out is None else Path(out))
    again = "the same call goes on with them"
    if of_file is not None:
        again = f"go on with: sparl sweep {quoted(of_file)} --out {quoted(folder.path)}"
        again += "" if jobs is None else f" --jobs {jobs}"
    runner = _Sweep(folder, planned.jobs(), quiet)
    with exclusive_folder(folder.path):
        folder.record(runner.jobs)
        with Pool(cores, size) as pool, _Stop() as stop, runner.progress:
            runner.run(pool, stop)
        if stop.signal is not None:
            left = sum(state != "done" for state in runner.states.values())
            raise Interrupted(stop.signal, f"{left} of {len(runner.jobs)} runs are left; {again}")
        return runner.result()


class _Stop:
    """A context in which Ctrl-C and SIGTERM are counted."""

    def __init__(self) -> None:
        self.count = 0
        self.signal: int | None = None
        """The number of the last one."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
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


class _Sweep:
    """The runs of a sweep, and where each stands."""

    def __init__(self, folder: SweepFolder, jobs: list[Job], quiet: bool) -> None:
        self.folder, self.jobs = folder, jobs
        self.progress = Progress(jobs, quiet)
        self.states: dict[str, State] = {}
        self._job = {job.name: job for job in jobs}
        self._failed: dict[str, Path] = {}

    def run(self, pool: Pool, stop: _Stop) -> None:
        """Runs what is not done, in order, until all has ended or was stopped."""
        for job in self.jobs:
            self.folder.bring_back(job)
            self.states[job.name] = "done" if self.folder.done(job) else "waiting"
        self._at = {job.name: self.folder.standing(job) for job in self.jobs}
        done = self._of("done")
        if done:
            results.record(self.folder, self.jobs, done)
            self.progress.note(f"{len(done)} of {len(self.jobs)} runs are done already")
        told, looked = 0, time.monotonic()
        waiting = self._of("waiting")
        while pool.running or (waiting and not stop.count):
            if stop.count > told:
                told = stop.count
                pool.stop()
                self.progress.note(
                    "stopping: each run finishes its episode and saves; once more leaves at once"
                )
            ended = pool.ended()
            for name, status in ended.items():
                self._end(self._job[name], status, bool(stop.count))
            while waiting and pool.free and not stop.count:
                job = waiting.pop(0)
                self.states[job.name] = "running"
                pool.start(job.name, self.folder.words(job), self.folder.log(job))
            if ended or time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                for name in (*ended, *pool.running):
                    self._at[name] = self.folder.standing(self._job[name])
                self.progress.show(self.states, self._at, bool(ended))
            time.sleep(POLL_SECONDS)

    def _of(self, state: State) -> list[Job]:
        return [job for job in self.jobs if self.states[job.name] == state]

    def _end(self, job: Job, status: int, stopping: bool) -> None:
        if status == 0 and self.folder.done(job):
            self.states[job.name] = "done"
            results.record(self.folder, self.jobs, [job])
        elif stopping:
            self.states[job.name] = "stopped"
        else:
            self.states[job.name] = "failed"
            self._failed[job.name] = self.folder.set_aside(job)
            self.progress.note(f"{job.name} FAILED: {self._failed[job.name]}")

    def result(self) -> SweepResult:
        """Compares what is done, and tells what failed."""
        comparisons: dict[str, Comparison] = {}
        for env in dict.fromkeys(job.env for job in self._of("done")):
            done = [job for job in self._of("done") if job.env == env]
            try:
                comparisons[env] = results.comparison(self.folder, done)
            except SparlError as error:
                self.progress.note(f"no comparison in {env}: {error}")
                continue
            place = self.folder.run(done[0]).parent / results.COMPARISON
            tables.save(comparisons[env], place)
        done = tuple(self.folder.run(job) for job in self._of("done"))
        return SweepResult(self.folder.path, done, tuple(self._failed.values()), comparisons)
