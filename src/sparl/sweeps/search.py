"""A study with a search: trials with options that Optuna chooses, the worse ones ended early.

A trial is a run for each seed of the study, one after the other. Trials run side by side. This
process alone reads what the runs have logged, and asks and tells Optuna. Evaluations are judged in
the order of their steps, however far a run has come meanwhile: with one job a search comes to the
same trials, wherever it was stopped.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sparl.errors import BadRun, BadValue
from sparl.storage import RunFolder, files
from sparl.sweeps import journal, results
from sparl.sweeps.folder import JOURNAL, TRIALS, SweepFolder
from sparl.sweeps.journal import Asked, Ended, Journal
from sparl.sweeps.pool import Pool
from sparl.sweeps.progress import Progress, State
from sparl.sweeps.runner import Runner, SweepResult, Trial
from sparl.sweeps.space import Space
from sparl.sweeps.study import Job, Study

ORDER = ("done", "pruned", "failed")
"""Of trials in tables."""


class SearchRunner(Runner):
    """The trials of a search, and where each stands."""

    def __init__(self, folder: SweepFolder, study: Study, quiet: bool) -> None:
        """
        Raises:
            BadValue: Of the study; or Optuna is not installed.
        """
        self.space = Space(study)
        journal.optuna()
        super().__init__(folder, [], quiet)
        self.progress = Progress(self.jobs, quiet, searches=True)
        self._open: dict[int, list[Job]] = {}
        """The runs of trials that have not ended. Of those to come the options are not known."""
        self._number: dict[str, int] = {}
        """Of the trial, by the names of runs."""

    def prepare(self) -> None:
        """Takes up the trials that there are, and plans those to come in place of failed ones too.

        Raises:
            BadRun: The folder is of another search.
            BadFile: Optuna's file is damaged.
        """
        self.journal = Journal(self.folder.path / JOURNAL, self.space)
        trials = self.journal.trials()
        self._begun = len(trials)
        known: dict[int, State] = {t.number: t.state for t in trials if t.state != "failed"}
        to_come = max(0, self.space.search.trials - len(known))
        for number in (*known, *range(self._begun, self._begun + to_come)):
            jobs = self._planned(number)
            state = known.get(number, "waiting")
            if state == "running":
                jobs = self.space.jobs(number, trials[number].options or {})
                self.folder.record(jobs)
            self.jobs += jobs
            for job in jobs:
                self._number[job.name] = number
                self.states[job.name] = state
                if state == "running":
                    self.folder.bring_back(job)  # killed before its failure was told
                    self.states[job.name] = "done" if self.folder.done(job) else "waiting"
            if state in ("running", "waiting"):
                self._open[number] = jobs
        there = [job for job in self._of("done") if self.folder.run(job).exists()]
        results.record(self.folder, self.jobs, there)
        for number in [number for number, state in known.items() if state == "running"]:
            self._take_up(number)
        if known:
            ended = len(known) - sum(number in self._open for number in known)
            self.progress.note(f"{ended} of {self.space.search.trials} trials have ended already")

    def next(self) -> Job | None:
        """A run of the first trial of which none is running; begins the trial if it is to come."""
        for number, jobs in list(self._open.items()):
            waiting = [job for job in jobs if self.states[job.name] == "waiting"]
            if not waiting or any(self.states[job.name] == "running" for job in jobs):
                continue
            if number < self._begun:
                return waiting[0]
            made = self._ask(number)
            if made:
                return made[0]
        return None

    def look(self, running: Sequence[Job], pool: Pool) -> None:
        """Ends trials that are worse than others were."""
        going_on = [job for job in running if self.states[job.name] == "running"]
        pool.stop([job.name for job in going_on if self._judge(job)])

    def end(self, job: Job, status: int, stopping: bool) -> None:
        """Notes that a run's process has ended, perhaps because the trial was pruned."""
        if self.states[job.name] == "running" and not self._judge(job):
            super().end(job, status, stopping)

    def done(self, job: Job) -> None:
        """Adds a run that is done to the tables, and ends the trial after its last seed."""
        super().done(job)
        self._conclude(self._number[job.name])

    def fail(self, job: Job) -> None:
        """Sets a run that failed aside, and ends its trial."""
        super().fail(job)
        self._tell(self._number[job.name], "failed")

    def result(self) -> SweepResult:
        """The trials, the best first."""
        self._write()
        return SweepResult(self.folder.path, *self._ended(), {}, tuple(self._trials()))

    def _planned(self, number: int) -> list[Job]:
        """Stands for the runs of a trial whose options are not known."""
        any_run = replace(self.space.checked[0], variant=f"trial-{number}")
        return [replace(any_run, seed=seed) for seed in self.space.study.seeds]

    def _take_up(self, number: int) -> None:
        """Looks at what a trial's runs have logged before the search was stopped."""
        done = [job for job in self._open[number] if self.states[job.name] == "done"]
        if not any(self._judge(job) for job in done):
            self._conclude(number)

    def _ask(self, number: int) -> list[Job]:
        """Begins a trial; no runs where its options do not go together."""
        self._begun += 1
        asked = self.journal.ask()
        if asked.number != number:
            raise BadRun(f"{self.folder.path / JOURNAL} is written by another process: stop that")
        try:
            self._open[number] = self.space.jobs(number, asked.options or {})
        except BadValue as error:
            job = self._open[number][0]
            log = self.folder.log(job)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(f"{error}\n", encoding="utf-8")
            self.fail(job)
            return []
        self.folder.record(self._open[number])
        self.folder.run(self._open[number][0]).parent.mkdir(parents=True, exist_ok=True)
        return self._open[number]

    def _judge(self, job: Job) -> bool:
        """Reports a run's new evaluations; whether one of them has ended the trial.

        The steps of a trial are those of its seeds one after the other.
        """
        number = self._number[job.name]
        before = self.space.study.seeds.index(job.seed) * job.steps
        reported = self.journal.trial(number).evaluations
        for step, value in self.folder.evaluations(job):
            # An evaluation may wait for the end of an episode.
            planned = step if step == job.steps else step - step % job.run.eval_every
            at = before + planned
            if at not in reported:
                self.journal.report(number, at, value)
                reported[at] = value
            if step < job.steps and at == max(reported) and self.journal.should_prune(number):
                self._tell(number, "pruned")
                return True
        return False

    def _conclude(self, number: int) -> None:
        """Ends a trial whose runs are all done."""
        jobs = self._open[number]
        if any(self.states[job.name] != "done" for job in jobs):
            return
        found = [RunFolder(self.folder.run(job)).read_summary() or {} for job in jobs]
        values = [v for s in found if (v := s.get(self.space.search.maximize)) is not None]
        if len(values) == len(jobs):
            self._tell(number, "done", float(np.mean(values)))
        else:  # runs that skip what is not finite may have no evaluation
            self._tell(number, "failed")

    def _tell(self, number: int, state: Ended, value: float | None = None) -> None:
        self.journal.tell(number, state, value)
        for job in self._open.pop(number):
            if self.states[job.name] != "done":
                self.states[job.name] = state
        self._write()
        trial = self._told(self.journal.trial(number))
        figure = f"{value:.6g}" if value is not None else f"{state} at step {trial.step:,}"
        options = ", ".join(
            f"{name} {results.cell(value)}" for name, value in trial.options.items()
        )
        self.progress.note(f"trial {number}: {figure} ({options})")

    def _trials(self) -> list[Trial]:
        def place(trial: Trial) -> tuple[float, ...]:
            figures = (trial.value, trial.step, trial.last_return)
            larger_first = (math.inf if figure is None else -float(figure) for figure in figures)
            return float(ORDER.index(trial.state)), *larger_first

        ended = [trial for trial in self.journal.trials() if trial.state != "running"]
        return sorted(map(self._told, (t for t in ended if t.options is not None)), key=place)

    def _told(self, trial: Asked) -> Trial:
        """A trial that has ended, with its runs."""
        assert trial.state != "running"
        step = max(trial.evaluations, default=0)
        last_return = trial.evaluations.get(step)
        runs = (self.folder.run(job) for job in self._planned(trial.number))
        there = tuple(run for run in runs if run.exists())
        options = trial.options or {}
        return Trial(trial.number, trial.state, trial.value, step, last_return, options, there)

    def _write(self) -> None:
        """Writes the table of the trials."""
        names = list(self.space.search.options)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        figures = ("trial", "state", self.space.search.maximize, "step", "last_return")
        writer.writerow((*figures, *names))
        for trial in self._trials():
            figures = (trial.number, trial.state, trial.value, trial.step, trial.last_return)
            options = (trial.options.get(name) for name in names)
            writer.writerow([results.cell(value) for value in (*figures, *options)])
        files.write_bytes(self.folder.path / TRIALS, text.getvalue().encode())
