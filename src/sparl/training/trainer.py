"""The loop: collect, sample, update, and from time to time restructure, evaluate, save.

An environment step and an update that leaves the policy alone overlap: updates are dispatched and
run while the environment is stepped, and nothing waits for one but what needs its result. The
order of everything that draws random numbers is that of the plain sequential loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np

from sparl import agents
from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.errors import BadRun, Diverged
from sparl.learner import Learner
from sparl.methods import Method
from sparl.networks import accounting
from sparl.policy import GOLDEN, Policy
from sparl.replay import Columns, Replay, dynamic
from sparl.storage import RunFolder
from sparl.training import startup
from sparl.training.callbacks import Callback
from sparl.training.collector import Course
from sparl.training.compatibility import refuse_misfit
from sparl.training.evaluation import Evaluation, Evaluator
from sparl.training.interrupt import Interrupt, Interrupted
from sparl.training.logger import Logs
from sparl.training.restructuring import restructured
from sparl.training.state import LoopState
from sparl.training.vector_collector import VectorCourse


class Trainer:
    """One run, from its folder. `run()` trains to the last step or to an interruption."""

    FIGURES: ClassVar[tuple[str, ...]] = ()
    """Columns of metrics.csv that only this kind of trainer has; `_figures` fills them."""

    def __init__(
        self,
        folder: RunFolder,
        run: RunConfig,
        agent: Any,
        method: Method,
        callbacks: Sequence[Callback] = (),
        quiet: bool = False,
    ) -> None:
        self.folder, self.config = folder, run
        self.agent, self.callbacks = agent, callbacks
        several = run.envs > 1 or run.vectorization != "sync"
        kind = VectorCourse if several else Course
        self.course = kind(run, self._where, self._rescue, self.folder.resumable)
        self.spaces = self.course.spaces
        refuse_misfit(run, agent, self.spaces, self.course.env.action_space)
        columns = Columns(
            self.spaces.observation_size, self.spaces.action_size, self.spaces.discrete
        )
        self.replay = Replay(run.buffer_size, columns, run.envs)
        self.engine = Engine(agent, method, columns, run.seed, run.normalize_observations)
        self.rng = np.random.default_rng([run.seed, 1])
        self.state = LoopState()
        self.logs = Logs(folder, run, self.engine, quiet, self.FIGURES)
        self.evaluator = Evaluator(run, self.spaces, run.eval_episodes, run.seed)
        self.interrupt = Interrupt(self.logs.note)
        self.notes = startup.notes(run, agent)
        """What is told of this run when it starts."""
        self._footprint = self.engine.footprint

    def resume(self, step: int) -> None:
        """Takes up the checkpoint of `step`; what the logs say beyond it is cut off."""
        arrays, state = self.folder.checkpoints.load(step, self._arrays_in)
        self.folder.checkpoints.load_replay(step, self.replay)
        self._restore(arrays)
        self.state = LoopState.from_json(state)
        self.rng.bit_generator.state = self.state.rng
        self.logs.resume(self.state.step, self.state.tables)
        self._footprint = self.engine.footprint

    def begin_with(self, learner: Learner) -> None:
        """Takes up what was learned elsewhere, as a start: networks, targets and moments."""
        self.engine.begin_with(learner)
        self._footprint = self.engine.footprint
        self.state.checkpointed = -1

    def begin_with_run(self, source: RunFolder, engine: Engine, state: LoopState) -> None:
        """Takes up what another run has learned and seen: its replay, too, the statistics of its
        observations, and the returns that the method measures its own by."""
        self.begin_with(engine.learner)
        self.engine.statistics = engine.statistics
        source.checkpoints.load_replay(state.step, self.replay)
        self.replay.cut()
        self.state.best_recent, self.state.lowest_recent = state.best_recent, state.lowest_recent
        self.state.returns, self.state.lengths = state.returns, state.lengths

    def run(self) -> Policy:
        """Trains; leaves the final policy and the summary in the folder.

        Raises `Interrupted` after saving when the run was asked to stop, and `Diverged`,
        `EnvironmentFailed` or `BadRun` (a full disk) with what can be resumed from.
        """
        before = self.state.wall_seconds
        started = time.perf_counter()

        def elapsed() -> float:
            return before + time.perf_counter() - started

        with self.interrupt, self.logs:
            headline = startup.headline(self.config, self.engine, self.folder)
            for note in [headline, *self.engine.notes, *self.notes]:
                self.logs.note(note)
            try:
                if self.state.checkpointed < self.state.step == 0:
                    self._save()  # what another run gave: this one must not need it any more
                while self.state.step < self.config.steps:
                    self._stretch(elapsed)
                    if self.interrupt.signal is not None:
                        self._save()
                        raise Interrupted(self.interrupt.signal, self.folder.resumable())
                return self._finish(elapsed())
            except OSError as error:
                raise BadRun(
                    f"could not write at step {self.state.step}: {error}. Make room. "
                    f"{self.folder.resumable()}"
                ) from error
            finally:
                self.course.close()
                self.evaluator.close()

    def _stretch(self, elapsed: Callable[[], float]) -> None:
        """Episodes until a checkpoint is due, the run is over, or an interruption will not wait."""
        state, config, streams = self.state, self.config, self.config.envs
        returns, lengths = [0.0] * streams, [0] * streams
        self.course.begun = state.episode
        for transition in self.course.transitions(self._explore, self._another):
            self.replay.add(*transition)
            stream, ended = transition.stream, transition.ended
            state.step += 1
            returns[stream] += transition.reward
            lengths[stream] += 1
            if ended:
                state.episode_ended(returns[stream], lengths[stream])
                for callback in self.callbacks:
                    callback.on_episode(state.step, returns[stream], lengths[stream])
                returns[stream], lengths[stream] = 0.0, 0
            learned = state.step - self.agent.learning_starts
            if learned > 0 and learned % self.agent.steps_per_update == 0:
                while self.state.updates < self.agent.updates_before:
                    self._update()
                self._update()
            if config.dynamic_replay and state.step % dynamic.EVERY == 0:
                dynamic.shrink(self.replay, self.engine.act, config.buffer_min, config.buffer_drift)
            state.wall_seconds = elapsed()
            self._log_if_due()
            self.logs.progress.tick(state.step)
            if state.step == config.steps or self.interrupt.overdue:
                break
        if self.course.begun > state.episode:
            if state.step < config.steps:
                self.logs.note(f"the episode at step {state.step} was cut there to save in time")
            self._cut()
        if self._due():
            self._save()

    def _another(self) -> bool:
        """Whether another episode is to begin before a checkpoint is saved."""
        return not self._due() and self.interrupt.signal is None

    def _due(self) -> bool:
        return self.state.step - self.state.checkpointed >= self.config.checkpoint_every

    def _rescue(self) -> None:
        """Saves what was learned before the environment failed."""
        # Resumed, the run goes on with another episode: this one would only fail again.
        self._cut()
        self._save()

    def _cut(self) -> None:
        """Episodes under way are given up: their last transitions lead to no others."""
        self.replay.cut()
        self.state.episode = self.course.begun

    def _update(self) -> None:
        self.engine.update(self._batch())
        self.state.updated(self._footprint)
        if restructured(self.engine, self.state, self._updates_in_all(), self.logs, self.callbacks):
            self._footprint = self.engine.footprint

    def _updates_in_all(self) -> int:
        """The agent's, of the whole run."""
        learning = self.config.steps - self.agent.learning_starts
        return learning // self.agent.steps_per_update

    def _batch(self) -> np.ndarray:
        agent = self.agent
        if isinstance(agent, agents.OnPolicyConfig):
            return self.replay.newest(agent.batch_size, agent.gamma)
        n_step = agent.n_step if self.state.step >= agent.n_step_from else 1
        return self.replay.sample(agent.rows_per_update, self.rng, agent.gamma, n_step)

    def _explore(self, observation: np.ndarray) -> np.ndarray | int:
        self.engine.observe(observation)
        # An agent that has learned elsewhere fills the replay better than chance does.
        if self.state.step < self.agent.learning_starts and not self.config.begun_from:
            return self.spaces.random(self.rng)
        return self.engine.explore(observation, self.state.step, self.rng)

    def _log_if_due(self, steps: int = 1) -> None:
        """Logs, and evaluates, where one of the newest `steps` steps asks for it."""
        step, config = self.state.step, self.config
        evaluate = step % config.eval_every < steps or step == config.steps
        if not (evaluate or step % config.log_every < steps):
            return
        self._check_finite()
        evaluation = self._evaluate() if evaluate else None
        self.logs.row(self.state, evaluation, self.engine, self._footprint, self._figures())

    def _figures(self) -> dict[str, Any]:
        return {}

    def _totals(self) -> dict[str, Any]:
        """Entries of summary.json that only this kind of trainer has."""
        return {}

    def _evaluate(self) -> Evaluation:
        with self.course.guarded("an evaluation"):
            evaluation = self.evaluator(self.engine.act)
        self.state.evaluations.append((self.state.step, evaluation.mean_return))
        for callback in self.callbacks:
            callback.on_evaluation(self.state.step, evaluation)
        return evaluation

    def _check_finite(self) -> None:
        bad = self.engine.first_nonfinite()
        if bad:
            raise Diverged(
                f"the loss of update {bad} (step {self._step_of(bad)}) is not finite. A smaller "
                f"--learning-rate may help. {self.folder.resumable()}"
            )

    def _step_of(self, update: int) -> int:
        """The environment step after which an update, numbered from 1, was made."""
        own = max(1, update - self.agent.updates_before)
        return self.agent.learning_starts + own * self.agent.steps_per_update

    def _save(self) -> None:
        self._check_finite()
        state = self.state
        if state.checkpointed == state.step:
            return
        state.checkpointed = state.step
        state.rng = dict(self.rng.bit_generator.state)
        state.tables = self.logs.sizes()
        path = self.folder.checkpoints.save(
            state.step, self._arrays(), self.engine.layouts, self._saved(), self.replay
        )
        for callback in self.callbacks:
            callback.on_checkpoint(state.step, path)

    def _arrays(self) -> dict[str, Any]:
        """What a checkpoint holds as arrays; `_arrays_in` and `_restore` are the way back."""
        return self.engine.arrays

    def _arrays_in(self, layouts: dict[str, Any]) -> dict[str, Any]:
        return self.engine.arrays_in(layouts)

    def _restore(self, arrays: dict[str, Any]) -> None:
        self.engine.restore(arrays)

    def _saved(self) -> dict[str, Any]:
        """The loop's state as a checkpoint holds it."""
        return asdict(self.state)

    def _finish(self, wall_seconds: float) -> Policy:
        self._save()
        newest = self.replay.span(
            self.replay.added - min(GOLDEN, self.replay.size), self.replay.added
        )
        golden = newest[:, : self.spaces.observation_size]
        policy = Policy(self.engine.policy(), self.spaces, golden, self.engine.normalization)
        policy.save(self.folder.policy)
        self.state.wall_seconds = wall_seconds
        original = {"policy": self.engine.original_policy}
        sizes = accounting.sizes(
            self.engine.report(), accounting.report({"policy": policy.network}, original)
        )
        self.folder.write_summary(
            {"env": self.config.env, "seed": self.config.seed}
            | self.state.summary()
            | sizes
            | self._totals()
        )
        return policy

    def _where(self) -> str:
        return f"step {self.state.step}, episode {self.state.episode}"
