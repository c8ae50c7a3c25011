"""The loop: collect, sample, update, and from time to time restructure, evaluate, save.

Updates are dispatched and run while the environment is stepped; nothing waits for one but what
needs its result. With `--pipeline on` an action needs none but the one before the newest. The order
of everything that draws random numbers is that of the plain sequential loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.agents import Agent, OnPolicyAgent
from sparl.config import RunConfig, Show
from sparl.engine import Engine
from sparl.errors import BadRun, EnvironmentFailed
from sparl.learner import Learner
from sparl.methods import Method
from sparl.policy import GOLDEN, Policy
from sparl.replay import dynamic
from sparl.storage import RunFolder
from sparl.training import startup
from sparl.training.callbacks import Callback, Callbacks
from sparl.training.collector import Collected, Collector, Host, LocalCollector, close_all
from sparl.training.compatibility import columns_of, engine_of, refuse_misfit
from sparl.training.evaluation import Evaluator
from sparl.training.interrupt import Interrupt, Interrupted
from sparl.training.log_rows import LogRows
from sparl.training.logger import Logger
from sparl.training.parts import Parts
from sparl.training.player import closed_on_failure
from sparl.training.progress import Progress
from sparl.training.results import write_results
from sparl.training.saving import Saver
from sparl.training.state import ENDLESS, LoopState, is_overdue
from sparl.training.stopping import StopOnReturn
from sparl.training.updater import Updater


class Trainer(Host):
    """One run, from its folder. `run()` trains to the last step or to an interruption."""

    def __init__(
        self,
        folder: RunFolder,
        run: RunConfig,
        agent: Agent,
        method: Method,
        callbacks: Sequence[Callback] = (),
        quiet: bool = False,
        progress: Show | None = None,
        collector: Callable[[RunConfig, Any], Collector] = LocalCollector,
        kind: type[Engine] = Engine,
    ) -> None:
        """`collector` makes what steps environments, of the run and this trainer; `kind` learns."""
        self.folder, self.config, self.state = folder, run, LoopState()
        if run.stop_at_return is not None:
            callbacks = (*callbacks, StopOnReturn(run.stop_at_return))
        self.callbacks = Callbacks(callbacks, self.stop)
        self.collector = collector(run, self)
        with closed_on_failure(self.collector):
            self._assemble(agent, method, Progress(run, agent, quiet, progress), kind)

    def _assemble(self, agent: Agent, method: Method, told: Progress, kind: type[Engine]) -> None:
        """Makes all that works with what the collector brings."""
        run = self.config
        self.spaces = spaces = self.collector.spaces
        refuse_misfit(run, agent, method, spaces, self.collector.action_space)
        columns = columns_of(run, agent, spaces)
        self.replay = self.collector.make_replay(columns)
        planned = (schedule := self.collector.schedule(agent)).planned(run.steps)
        self.engine = engine_of(run, agent, method, columns, planned, kind)
        self.agent, self.rng = self.engine.agent, np.random.default_rng([run.seed, 1])
        self.logger = Logger(
            self.folder, run, self.engine, told, self.callbacks, self.collector.columns
        )
        self.updater = Updater(
            self, schedule, planned, self.collector.most_updates, self.logger, self.callbacks
        )
        parts = Parts(self, self.collector, self.updater, self.logger, self.callbacks)
        self.saver = Saver(parts)
        self.interrupt = Interrupt(self.note)
        shared = self.collector.env if run.eval_env == "shared" else None
        evaluator = Evaluator(run, spaces, run.eval_episodes, run.seed, shared)
        self.log_rows = LogRows(parts, self.saver, evaluator, lambda: self.interrupt)
        self.collector.start()
        self.notes = [*startup.notes(self), *self.collector.notes()]
        # Whether an episode, or the run, ended with the newest steps; the step at which the end was
        # asked for; when the run would have begun had it never been interrupted.
        self._ended, self._asked_at, self._begun = False, 0, 0.0

    def resume(self, step: int) -> None:
        """Takes up the checkpoint of `step`; what the logs say beyond it is cut off."""
        self.state = self.saver.load(step)
        self._asked_at = self.state.step

    def begin_with(self, learner: Learner) -> None:
        """Takes up what was learned elsewhere, as a start: networks, targets and moments."""
        self.engine.begin_with(learner)
        self.begun_elsewhere()

    def begun_elsewhere(self) -> None:
        """Says that the engine has taken up what was learned elsewhere: it is saved at once."""
        self.updater.footprint = self.engine.footprint
        self.state.checkpointed = -1

    def begin_with_transitions(self, rows: NDArray[np.float32]) -> None:
        """Takes up logged transitions, [n, width], as the first ones of the replay."""
        self.replay.restore(0, rows)
        self.engine.meet(rows)
        self.state.checkpointed = -1

    def run(self) -> None:
        """Trains; leaves the final policy, the best one and the summary in the folder.

        Raises:
            Interrupted: The run was asked to stop; it is saved.
            Diverged, EnvironmentFailed, BadRun: Training cannot go on (a full disk, say); the
                message tells what the run can be resumed from. So does a note before a callback's.
        """
        with self.interrupt, closing(self.course()) as course:
            for rows in course:
                if rows is not None:
                    self.engine.update(rows)

    def course(self) -> Generator[NDArray[np.float32] | None, None, None]:
        """`run`, as the rows of each update: whoever takes them makes it, and then goes on. None:
        environments take a step elsewhere; other work may come first."""
        self._begun = time.perf_counter() - self.state.wall_seconds
        with self.logger:
            for text in [startup.headline(self), *self.engine.notes, *self.notes]:
                self.note(text)
            try:
                self.callbacks.tell("on_start", self)
                if self.state.checkpointed < self.state.step == 0:
                    self._save()  # what another run gave must not be needed any more
                if self.log_rows.add_owed():
                    self._stop_if_asked()
                while self.state.step < self.config.steps and not self.state.ended:
                    yield from self._stretch()
                    self._stop_if_asked()
                self._finish()
            except Exception as error:
                if (told := self._told(error)) is error:
                    raise
                raise told from error
            finally:
                close_all(self.note, self.collector, self.log_rows)

    def explore(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """Actions to learn from, [batch, act] or choices [batch], for observations [batch, obs]."""
        early = self.state.step < self.agent.learning_starts
        if not (early and self.config.begun_from):  # else it sees, and acts, as where it learned
            self.engine.observe(observation)
            if early:
                return self.agent.first_actions(observation, lambda: self.spaces.random(self.rng))
        return self.engine.explore(observation, self.state.step, self.rng)

    def another_episode(self) -> bool:
        self.log_rows.add_owed()
        return not (self.saver.due() or self.state.ended or self.interrupt.signal is not None)

    def updates_due(self) -> int:
        return self.updater.due(self.state, self._ended)

    def note(self, text: str) -> None:
        self.logger.note(text)

    def policy(self) -> Policy:
        if self.log_rows.evaluated is not None:
            return self.log_rows.evaluated
        # The newest observations of the replay are its golden ones.
        first = self.replay.added - min(GOLDEN, self.replay.size)
        golden = self.replay.span(first, self.replay.added)[:, : self.spaces.observation_size]
        return Policy(self.engine.policy(), self.spaces, golden, self.engine.normalization)

    def stop(self, reason: str) -> None:
        """Ends the run when the episodes under way have ended; summary.json says the reason."""
        if not self.state.ended:
            self.state.ended, self._asked_at = reason, self.state.step
            self.note(f"the run ends: {reason}")

    def where(self) -> str:
        return f"step {self.state.step}, episode {self.state.episode}"

    def way_out(self) -> str:
        return self.folder.resume_hint()

    def rescue(self) -> None:
        # Resumed, the run goes on with another episode: this one may only fail again.
        self.collector.cut()
        try:
            self._save()
        except OSError as error:
            self.note(self.saver.failure(error))

    def _stretch(self) -> Iterator[NDArray[np.float32] | None]:
        """Collects and learns until a checkpoint may be saved, and saves it if one is due."""
        state, last, logged = self.state, self.config.steps, self.state.step
        for collected in self.collector.collect():
            if collected is None:
                yield None
                continue
            self._count(collected)
            # What its present policy has done alone is for an on-policy agent to learn from, and
            # all actions of a step are chosen at once.
            if collected.whole or state.step >= last or not isinstance(self.agent, OnPolicyAgent):
                yield from self.updater.learn(state, self._ended)
            self.callbacks.tell("on_step", state.step)
            state.wall_seconds = time.perf_counter() - self._begun
            over = state.step >= last and not self.updates_due()
            if state.step > logged and (state.step < last or over):
                self._after(state.step - logged)
                logged = state.step
            if over or self._overdue():
                yield from self._cut()
                break
        if self.saver.due():
            self._save()

    def _save(self) -> None:
        """Saves a checkpoint, once the evaluation under way is done."""
        self.log_rows.settle()
        self.saver.save()

    def _overdue(self) -> bool:
        """Whether a save, or the end, has waited for longer than episodes with an end can take."""
        state, longest = self.state, self.collector.longest
        asked = state.ended and state.step - self._asked_at > (longest or ENDLESS)
        late = is_overdue(state, self.config.checkpoint_every, longest)
        return self.interrupt.overdue or bool(asked) or late

    def _finish(self) -> None:
        """Saves, and leaves what a finished run does."""
        self._save()
        # After the checkpoint: whoever goes on with the run must not have this evaluation.
        if self.state.ended and self.config.eval_episodes and not self.state.is_evaluated:
            self.log_rows.add(evaluate=True)
            self.log_rows.settle()
            self._stop_if_asked()
        self.state.wall_seconds = time.perf_counter() - self._begun
        write_results(self, self.saver.best.policy, self.logger.marks(), self.collector.totals())

    def _told(self, error: Exception) -> BaseException:
        """What is raised for an error that ends the run."""
        if self.callbacks.failed:
            self.rescue()
            self.note(f"{self.callbacks.failed} raised an error. {self.way_out()}")
        elif isinstance(error, OSError):
            return BadRun(f"{self.saver.failure(error)}. Make room. {self.way_out()}")
        elif isinstance(error, EnvironmentFailed) and self.interrupt.signal is not None:
            # Whoever asks a whole group of processes to stop may end those of environments.
            self.note(str(error))
            return Interrupted(self.interrupt.signal, self.way_out())
        return error

    def _stop_if_asked(self) -> None:
        if self.interrupt.signal is not None:
            self._save()
            raise Interrupted(self.interrupt.signal, self.way_out())

    def _count(self, collected: Collected) -> None:
        self.state.step += collected.steps
        self._ended = bool(collected.ended) or self.state.step >= self.config.steps
        for episode_return, length in collected.ended:
            self.state.episode_ended(episode_return, length)
            self.callbacks.tell("on_episode", self.state.step, episode_return, length)

    def _cut(self) -> Iterator[NDArray[np.float32]]:
        """Cuts the episodes under way, and does what waits for the end of one."""
        if self.collector.under_way and self.state.step < self.config.steps:
            self.note(f"episodes under way at step {self.state.step} were cut to save in time")
        self.collector.cut()
        if self.agent.schedule.unit == "episodes":
            yield from self.updater.learn(self.state, ended=True)
        self.log_rows.add_owed()

    def _after(self, steps: int) -> None:
        """What is due now and then, after that many more steps and their updates."""
        config, step = self.config, self.state.step
        if config.dynamic_replay and step % dynamic.EVERY < steps:
            dynamic.shrink(self.replay, self.engine.act, config.buffer_min, config.buffer_drift)
        last = step == config.steps
        evaluate = config.eval_episodes > 0 and (step % config.eval_every < steps or last)
        if evaluate and config.eval_env == "shared":  # it plays when the episode is over
            self.state.evaluation_owed = True
        # A row waits for the evaluation that it belongs to: at the end of this episode, or now.
        waits = self.state.evaluation_owed and not last and (evaluate or self._ended)
        if not waits and (evaluate or last or step % config.log_every < steps):
            self.log_rows.add(evaluate)
        self.logger.progress.tick(step, steps)
