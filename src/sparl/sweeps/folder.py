"""The folder of a sweep: run folders by environment, and those that failed apart.

study.json              the command of each run, by which a changed study is noticed
ENV/VARIANT-SEED/       a run folder each, and VARIANT-SEED.log with what the run printed
ENV/curves.csv          every evaluation of the runs that are done
ENV/runs.csv            the final figures of each
ENV/comparison/         what `sparl compare --out` writes
failed/ENV/…            runs that failed, with their logs
search.journal          of a search: Optuna's storage
trials.csv              and its trials, the best first
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparl.agents import Agent
from sparl.analysis.runs import STUDY
from sparl.errors import BadFile, BadRun, SparlError
from sparl.storage import RunFolder, SummaryFile, exclusive_folder, files, read_table
from sparl.sweeps.study import Job

FAILED = "failed"
JOURNAL, TRIALS = "search.journal", "trials.csv"


@dataclass(frozen=True)
class Standing:
    """How far a run has come, by its log."""

    step: int = 0
    steps_per_second: float | None = None
    """Of the newest row with updates: random steps before learning are many times faster."""
    best_return: float | None = None
    """Of its evaluations."""


class SweepFolder:
    """The files that the module lists."""

    def __init__(self, path: Path) -> None:
        """A folder that may not exist yet."""
        self.path = path

    def run(self, job: Job) -> Path:
        """A job's run folder."""
        return self.path / job.name

    def log(self, job: Job) -> Path:
        """What a job's process printed."""
        return self.path / f"{job.name}.log"

    def failed_log(self, job: Job) -> Path:
        """The same after it failed."""
        return self.path / FAILED / f"{job.name}.log"

    def record(self, jobs: list[Job]) -> None:
        """Writes down what each run is.

        Raises:
            BadRun: A run of that name is there, and is another one or is longer.
            BadFile: study.json is not as sparl wrote it.
        """
        path = self.path / STUDY
        known: dict[str, Any] = files.read_json(path) if path.exists() else {}
        for job in jobs:
            before = known.get(job.name) if isinstance(known, dict) else ()
            if before is None:
                continue
            if isinstance(before, dict) and not self._begun(job):
                continue
            if not isinstance(before, dict) or before.keys() != {"command", "steps"}:
                raise BadFile(f"{path} is not as sparl wrote it", file=path, field=job.name)
            if before["command"] != job.identity:
                was = [w for w in before["command"] if w not in job.identity]
                now = [w for w in job.identity if w not in before["command"]]
                raise BadRun(
                    f"{self.run(job)} is of a variant {job.variant} with other options: "
                    f"{' '.join(was) or 'fewer'} there, {' '.join(now) or 'fewer'} in the study. "
                    "Give the new variant another name, or the sweep another folder"
                )
            if before["steps"] > job.steps:
                raise BadRun(
                    f"{self.run(job)} is of {before['steps']} steps: {job.steps} are behind that. "
                    "Ask for more steps, or choose another folder"
                )
        new = {job.name: {"command": job.identity, "steps": job.steps} for job in jobs}
        files.write_json(path, known | new)

    def done(self, job: Job) -> bool:
        """Whether a run has come to its end."""
        file = self.run(job) / "summary.json"
        if not file.exists() or not SummaryFile.read(file).is_whole(job.steps):
            return False
        return RunFolder.open(self.run(job)).record().run.steps >= job.steps

    def agent_of(self, variant: str) -> Agent | None:
        """The agent of a variant that has runs here; None if it has none.

        Raises:
            Untrusted: Somebody else's code is named there.
        """
        for config in sorted(self.path.glob("*/*/config.json")):
            if config.parent.name.rpartition("-")[0] == variant and config.parts[-3] != FAILED:
                return RunFolder.open(config.parent).read_config(env=False).agent
        return None

    def _begun(self, job: Job) -> bool:
        """Whether there is anything of a run."""
        aside = self.path / FAILED / job.name
        return any(path.exists() for path in (self.run(job), self.log(job), aside))

    def standing(self, job: Job) -> Standing:
        """How far a run has come; nowhere if nothing can be read yet."""
        with suppress(SparlError, KeyError, IndexError):
            table = read_table(self.run(job) / "metrics.csv")
            speed = float(table["steps_per_second"][-1]) if table["updates"][-1] > 0 else math.nan
            returns = table["eval_return"]
            return Standing(
                int(table["step"][-1]),
                speed if speed > 0 else None,
                None if np.isnan(returns).all() else float(np.nanmax(returns)),
            )
        return Standing()

    def evaluations(self, job: Job) -> list[tuple[int, float]]:
        """The steps and the returns of the evaluations that its log has; none if it has no log."""
        with suppress(SparlError, KeyError):
            table = read_table(self.run(job) / "metrics.csv")
            pairs = zip(table["step"], table["eval_return"], strict=True)
            return [(int(step), float(value)) for step, value in pairs if not np.isnan(value)]
        return []

    def words(self, job: Job) -> list[str]:
        """The words behind `sparl` that begin a run, or go on with it."""
        folder = str(self.run(job))
        if (self.run(job) / "config.json").exists():
            return ["train", "--resume", folder, "--steps", str(job.steps)]
        return [*job.words, "--out", folder]

    def set_aside(self, job: Job) -> Path:
        """Moves a run that failed to the others; gives the place of its log."""
        run, log = self.run(job), self.log(job)
        aside = self.path / FAILED / job.name
        aside.parent.mkdir(parents=True, exist_ok=True)
        if run.exists() and not aside.exists():
            try:
                with exclusive_folder(run):
                    pass  # Windows moves no folder in which a file is open, as that of the lock is
            except BadRun:  # another process trains in it, which is why this one failed
                return log
            files.rename(run, aside)
        files.rename(log, self.failed_log(job))
        return self.failed_log(job)

    def bring_back(self, job: Job) -> None:
        """Moves a run that failed in an earlier sweep back, to try it again."""
        self.run(job).parent.mkdir(parents=True, exist_ok=True)
        for old, new in (
            (self.path / FAILED / job.name, self.run(job)),
            (self.failed_log(job), self.log(job)),
        ):
            if old.exists() and not new.exists():
                files.rename(old, new)
