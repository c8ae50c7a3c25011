"""A sweep in lockstep: the seeds of a variant learn together in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import jax

from sparl import launch, training
from sparl.engine import SeedEngine
from sparl.errors import BadValue, SparlError
from sparl.sweeps.folder import Standing, SweepFolder
from sparl.sweeps.pool import Pool
from sparl.sweeps.runner import LOOK_SECONDS, Runner, Stop
from sparl.sweeps.study import Job
from sparl.training import Trainer


class LockstepRunner(Runner):
    """The variants of a study one after the other, each with all seeds that are not done."""

    def __init__(self, folder: SweepFolder, jobs: list[Job], quiet: bool) -> None:
        """
        Raises:
            BadValue: A variant cannot learn in lockstep.
        """
        for job in jobs:
            try:
                training.refuse_lockstep(job.run, job.agent, job.method)
            except BadValue as error:
                raise BadValue(f"variant {job.variant} in {job.env}: {error}") from error
        super().__init__(folder, jobs, quiet)

    def run(self, pool: Pool, stop: Stop) -> None:
        """Trains what is not done, without a process of the pool."""
        self.prepare()
        self._at = {job.name: self.folder.standing(job) for job in self.jobs}
        groups: dict[tuple[str, str], list[Job]] = {}
        for job in self._waiting:
            groups.setdefault((job.env, job.variant), []).append(job)
        for jobs in groups.values():
            if stop.signal is None:
                self._train(jobs, stop)

    def _train(self, jobs: Sequence[Job], stop: Stop) -> None:
        """Trains one variant with several seeds."""
        failed: dict[str, SparlError] = {}
        trainers: dict[str, Trainer] = {}
        with ExitStack() as stack:
            for job in jobs:
                try:
                    trainers[job.name] = self._begun(job, stack)
                    self.states[job.name] = "running"
                except SparlError as error:
                    failed[job.name] = error
            if trainers and stop.signal is None:
                self._tell(jobs[0], list(trainers.values()))
                tick = self._ticker(trainers)
                ended = training.train_in_lockstep(
                    list(trainers.values()), self.progress.note, tick
                )
                failed |= {list(trainers)[number]: e for number, e in ended.failed.items()}
                if ended.stopped is not None:
                    stop.signal = ended.stopped.signal
        # Behind the context: a folder that is another process's cannot be moved.
        for job in jobs:
            self._at[job.name] = self.folder.standing(job)
            if job.name in failed:
                self._fail_with(job, failed[job.name])
            else:
                self.end(job, 0, stopping=stop.signal is not None)
        self.progress.show(self.states, self._at, ended=True)

    def _begun(self, job: Job, stack: ExitStack) -> Trainer:
        """The trainer of a run that begins or goes on, in contexts that `stack` closes."""
        path, (run, method) = self.folder.run(job), (job.run, job.method)
        if (path / "config.json").exists():
            resumed = launch.resumed(path, {"steps": job.steps}, quiet=True, kind=SeedEngine)
            return stack.enter_context(resumed)
        agent = launch.learning_at_once(run, job.agent)
        folder = launch.new_folder(path, run, method)
        made = launch.trainer(folder, run, agent, method, quiet=True, kind=SeedEngine)
        trainer = stack.enter_context(made)
        stack.enter_context(launch.begun(trainer))
        return trainer

    def _fail_with(self, job: Job, error: SparlError) -> None:
        log = self.folder.log(job)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"sparl: {error}\n")
        self.fail(job)

    def _tell(self, job: Job, trainers: Sequence[Trainer]) -> None:
        self.progress.note(f"{job.env}, {job.variant}: {len(trainers)} seeds in lockstep")
        for text in trainers[0].engine.notes:
            self.progress.note(text)
        if jax.default_backend() != "cpu":
            self.progress.note(
                "the kernels of sparse layers are for the CPU: here each is multiplied as a dense "
                "one with zeros, which saves nothing"
            )

    def _ticker(self, trainers: dict[str, Trainer]) -> Callable[[], None]:
        """A function to call often, which shows now and then how far runs are."""
        steps: dict[str, int] = {}
        begun = looked = 0.0

        def tick() -> None:
            nonlocal begun, looked
            now = time.monotonic()
            if not steps:  # random steps before learning are many times faster, and do not count
                begun = looked = now
                steps.update({name: trainer.state.step for name, trainer in trainers.items()})
            if now - looked < LOOK_SECONDS:
                return
            looked = now
            for name, trainer in trainers.items():
                state = trainer.state
                speed = (state.step - steps[name]) / (now - begun)
                returns = [value for _, value in state.evaluations]
                self._at[name] = Standing(state.step, speed or None, max(returns, default=None))
            self.progress.show(self.states, self._at)

        return tick
