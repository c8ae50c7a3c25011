"""Updates as they are due, and the method's restructurings between them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.errors import Diverged
from sparl.methods import TrainingProgress
from sparl.training.callbacks import Callbacks
from sparl.training.collector import Host, Schedule
from sparl.training.logger import Logger
from sparl.training.state import LoopState

MOST_UNROLLED = 8
"""Updates of a bundle that are compiled one by one; a longer bundle repeats them."""


class Updater:
    """Draws batches and makes the updates of a run; a method's time is the agent's updates."""

    def __init__(
        self,
        host: Host,
        schedule: Schedule,
        planned: int,
        most_at_once: int | None,
        logger: Logger,
        callbacks: Callbacks,
    ) -> None:
        """
        Args:
            host: The trainer, which draws batches and whose engine learns.
            planned: Updates of the agent in the whole run; those of a representation alone, before
                the agent's begin, do not count.
            most_at_once: See `Collector.most_updates`.
        """
        self.engine, self.replay, self.rng = host.engine, host.replay, host.rng
        self.schedule, self.planned, self._most = schedule, planned, most_at_once
        self._pipelined = host.config.pipeline == "on"
        self._logger, self._callbacks = logger, callbacks
        self._agent, self._before = self.engine.agent, self.engine.agent.updates_before
        self.footprint = self.engine.footprint
        """What the networks hold and move in an update, as they are now."""

    def due(self, state: LoopState, ended: bool) -> int:
        """The agent's updates to make now; `ended` tells whether an episode has just ended."""
        if not self.replay.size:  # all that came was not finite, and left out
            return 0
        made = max(0, state.updates - self._before)
        if ended and self.schedule.planned(state.step) >= self.planned:
            return max(0, self.planned - made)  # the run's last ones, whatever they waited for
        return self.schedule.due(state.step, state.episode, ended, made)

    def learn(self, state: LoopState, ended: bool) -> Iterator[NDArray[np.float32]]:
        """The rows of each update that is due, or of as many as the collector wants at once.

        Whoever takes them makes the update (`Engine.update`) before asking for the next. In a
        pipeline the environment is stepped on while they run. Where an episode has ended, the
        next action waits for them: a checkpoint may come in between, and it has the newest weights.
        """
        if self._pipelined:
            self.engine.hold()
        while due := self.due(state, ended):
            # Before the first that is due come those of the representation alone, one by one.
            alone = self._before - state.updates
            count = min(alone if alone > 0 else due, self._most or (1 if alone > 0 else due))
            count = min(count, self._agent.schedule.most_drawn)
            errors = yield from self._update(state, count)
            if errors is not None:
                self.replay.prioritise(errors)
            if self._most is not None:
                break
        if ended:
            self.engine.release()

    def check_finite(self, way_out: Callable[[], str]) -> None:
        """Checks the losses of all updates so far; waits for them.

        Args:
            way_out: Gives a sentence on what the run can be resumed from.

        Raises:
            Diverged: One was not finite. The message names the update and its step.
        """
        bad = self.engine.first_nonfinite()
        if bad:
            step = self.schedule.step_of(max(1, bad - self._before))
            raise Diverged(
                f"the loss of update {bad} (step {step}) is not finite. A smaller learning rate "
                f"may help. {way_out()}"
            )

    def _update(
        self, state: LoopState, count: int
    ) -> Generator[NDArray[np.float32], None, NDArray[np.float32] | None]:
        """The rows of so many updates; returns absolute TD errors, where batches have weights."""
        rows = self._agent.batches(self.replay, count, state.step, self.rng, self.engine.evaluate)
        errors: list[Any] = []
        made = 0
        while made < count:
            bundle = self._bundle(count - made)
            yield rows[made : made + bundle] if bundle > 1 else rows[made]
            state.updated(self.footprint, bundle)
            errors.append(self.engine.td_errors)
            self._restructure_if_due(state)
            made += bundle
        if any(error is None for error in errors):
            return None
        return np.concatenate([np.atleast_2d(np.asarray(error)) for error in errors])

    def _stage(self, update: int) -> Any:
        made = update - self._before
        return self.engine.method.stage(made, self.planned) if made > 0 else None

    def _bundle(self, left: int) -> int:
        """How many of the updates that are left the next compiled call makes: a bundle, or one.

        One, where the method has something to do within the bundle, and where what the updates
        change repeats itself too seldom, so that every bundle would compile anew.
        """
        bundle, done = self._agent.schedule.bundle, self.engine.updates
        if self._most is not None or not 1 < bundle <= left:
            return 1
        if self.engine.algorithm.period(done, bundle) > MOST_UNROLLED:
            return 1
        return 1 if any(self._stage(done + i) is not None for i in range(1, bundle)) else bundle

    def _restructure_if_due(self, state: LoopState) -> None:
        """Restructures if the method says so after the newest update, and tells of it."""
        engine, logger = self.engine, self._logger
        stage = self._stage(engine.updates)
        if stage is None:
            return
        before = engine.shapes
        made = engine.updates - self._before
        progress = TrainingProgress(made, self.planned, state.recent_returns)
        figures = engine.restructure(stage, progress)
        if figures is None:
            return
        logger.restructured(state.step, engine.updates, figures)
        for warning in engine.method.warnings(figures):
            logger.warn(state.step, warning)
        if engine.shapes != before:
            logger.shrunk(state.step, before, engine)
        self.footprint = engine.footprint
        self._callbacks.tell("on_restructure", state.step, figures)
