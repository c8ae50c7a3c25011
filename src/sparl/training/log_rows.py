"""Rows of a run's log, and the evaluations that belong to them.

With `--eval-async` an evaluation plays in a thread, by a copy of the weights of its step, while
training goes on. Its row waits in memory, and so do those behind it, until the evaluation is taken
up: where the next one begins, before a checkpoint is saved, and at the end. So it does not depend
on how fast an evaluation is where its callbacks end a run, and no checkpoint has one under way:
whoever resumes from it makes all those behind it again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread
from typing import Any, NamedTuple

from numpy.typing import NDArray

from sparl.errors import EnvironmentFailed
from sparl.policy import Policy
from sparl.training.evaluation import Act, Evaluation, Evaluator
from sparl.training.interrupt import Interrupt, Overdue
from sparl.training.parts import Parts
from sparl.training.saving import Saver


class Playing(NamedTuple):
    """An evaluation that is under way."""

    step: int
    """Of the run, when it began."""
    policy: Policy
    """What is evaluated, in memory of its own."""
    evaluation: Future[Evaluation]
    given_up: Event
    """Set where nobody waits for its end any more."""


class GivenUp(Exception):
    """Ends an evaluation that nobody waits for."""


class LogRows:
    """Writes the rows of a run's log, with evaluations or without."""

    def __init__(
        self, parts: Parts, saver: Saver, evaluator: Evaluator, interrupt: Callable[[], Interrupt]
    ) -> None:
        """
        Args:
            interrupt: Gives that of the run, which may cut an evaluation that is not beside
                training.
        """
        self._host, self._collector, self._updater = parts.host, parts.collector, parts.updater
        self._logger, self._callbacks = parts.logger, parts.callbacks
        self._saver, self._evaluator, self._interrupt = saver, evaluator, interrupt
        self._playing: Playing | None = None
        self._waiting: list[dict[str, Any]] = []
        """Rows from that of the evaluation under way on."""
        self.evaluated: Policy | None = None
        """The policy of an evaluation that was beside training, while callbacks are told of it."""

    def add(self, evaluate: bool) -> None:
        """Adds a row of now, with an evaluation or without."""
        host, state = self._host, self._host.state
        if evaluate:
            self.settle()
        self._updater.check_finite(host.way_out)
        if evaluate and host.config.eval_async:
            state.evaluation_owed = False
            self._begin()
            self._waiting.append(self._row())
            return
        evaluation = None
        if evaluate:
            # Owed until it is done: the environment may fail in it, and the run be saved.
            state.evaluation_owed = True
            evaluation = self._evaluate()
            if evaluation is None:
                return
        if self._playing is not None:
            self._waiting.append(self._row())
        else:
            self._logger.row(self._row(), evaluation, state.evaluations)

    def add_owed(self) -> bool:
        """Adds the row of an evaluation that is owed; whether there was one."""
        owed = self._host.state.evaluation_owed
        if owed:
            self.add(evaluate=True)
        return owed

    def settle(self) -> None:
        """Waits for the evaluation under way, if any, and writes what waits for it.

        Raises:
            EnvironmentFailed: The environment raised an exception in it. Nothing is saved: what the
                newest checkpoint resumes makes this evaluation again, by the same weights.
            Diverged: It gave a number that is not finite.
        """
        playing = self._playing
        if playing is None:
            return
        try:
            evaluation = playing.evaluation.result()
        except EnvironmentFailed as error:
            raise EnvironmentFailed(
                f"{error}, that of step {playing.step}. {self._host.way_out()}"
            ) from error
        self._playing = None
        self.evaluated = playing.policy
        try:
            self._tell(playing.step, evaluation)
        finally:
            self.evaluated = None
        self._write_waiting(evaluation)

    def close(self) -> None:
        """Gives up an evaluation under way, as of a run that failed; its row has no return then."""
        if self._playing is not None:
            self._playing.given_up.set()
            self._playing.evaluation.exception()  # environments are not closed under its feet
            self._playing = None
        self._write_waiting(None)
        self._evaluator.close()

    def _evaluate(self) -> Evaluation | None:
        """Evaluates; None if a request to stop has waited too long for the end of it."""
        host = self._host
        with self._collector.guarded("an evaluation"):
            try:
                evaluation = self._evaluator(self._interrupt().in_time(host.engine.act))
            except Overdue:
                return None
        host.state.evaluation_owed = False
        self._tell(host.state.step, evaluation)
        return evaluation

    def _begin(self) -> None:
        """Begins an evaluation beside training."""
        engine, given_up, future = self._host.engine, Event(), Future[Evaluation]()
        act = engine.frozen()

        def unless_given_up(observation: NDArray[Any]) -> NDArray[Any]:
            if given_up.is_set():
                raise GivenUp
            return act(observation)

        policy = self._host.policy().copied()
        self._playing = Playing(self._host.state.step, policy, future, given_up)
        arguments = self._evaluator, unless_given_up, future
        Thread(target=_play, args=arguments, name="evaluation", daemon=True).start()

    def _row(self) -> dict[str, Any]:
        host, footprint = self._host, self._updater.footprint
        return self._logger.figures(host.state, host.engine, footprint, self._collector.figures())

    def _tell(self, step: int, evaluation: Evaluation) -> None:
        if not evaluation.returns:  # all were left out, because of what is not finite
            return
        self._host.state.evaluations.append((step, evaluation.mean_return))
        self._saver.evaluated(step, evaluation.mean_return)
        self._callbacks.tell("on_evaluation", step, evaluation)

    def _write_waiting(self, evaluation: Evaluation | None) -> None:
        """Writes the rows that waited; the first one is that of the evaluation."""
        rows, self._waiting = self._waiting, []
        for i, row in enumerate(rows):
            of_row = evaluation if i == 0 else None
            self._logger.row(row, of_row, self._host.state.evaluations)


def _play(evaluate: Evaluator, act: Act, future: Future[Evaluation]) -> None:
    """Evaluates in a thread, and leaves what came of it."""
    try:
        future.set_result(evaluate(act))
    except BaseException as error:
        future.set_exception(error)
