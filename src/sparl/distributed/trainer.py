"""The loop of a run whose transitions come from actors: order, take, update, and the rest as ever.

With one actor that takes a step at a time this is the local loop, in the same order and with the
same random numbers: it ends with the same bits. Otherwise which transitions come first, and with
how old weights they were made, is a matter of time; what a run may differ in is no more than that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from sparl.distributed.actor import Rollout
from sparl.distributed.actor_pool import Crew
from sparl.distributed.rate_limiter import Limiter
from sparl.distributed.remote_replay import RemoteReplay
from sparl.distributed.weights import Publisher
from sparl.errors import SparlError
from sparl.policy import Policy
from sparl.replay import dynamic
from sparl.training import Trainer

AT_ONCE = 16
"""Most batches that are asked for at once; asking takes about as long as a small update."""


class DistributedTrainer(Trainer):
    """One run with `run.actors` actors; a Ray cluster must be connected."""

    FIGURES: ClassVar[tuple[str, ...]] = (
        "actors",
        "samples_per_insert",
        "staleness",
        "broadcast_bytes",
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        run, agent = self.config, self.agent
        exponent = run.priority_exponent if run.prioritised else None
        self.replay: RemoteReplay = RemoteReplay(
            run.buffer_size,
            self.replay.columns,
            self.folder.resumable,
            exponent,
            run.importance_exponent,
        )
        self.publisher = Publisher(self.engine)
        self.crew = Crew(run, agent, self.replay.columns, self.publisher)
        self.limiter = Limiter(
            run.samples_per_insert, agent.learning_starts, run.actors * run.rollout
        )
        self._under_way: set[int] = set()
        """Actors that are in an episode."""
        self._batches: list[np.ndarray] = []
        self._errors: list[Any] = []
        self._staleness: list[int] = []
        self._sent = (0, 0)
        self._seen = 0
        self.notes = [*self.notes, self._about()]

    def run(self) -> Policy:
        try:
            return super().run()
        finally:
            self.crew.close()
            self.replay.close()

    def _stretch(self, elapsed: Callable[[], float]) -> None:
        """Until an episode of one of the actors ends, or the run does, or an interruption."""
        state, config, ended = self.state, self.config, False
        self._seen = state.step
        while self._goes_on(ended):
            self._give_orders()
            for number, rollout in self._finished():
                ended |= self._take(number, rollout)
            self._learn()
            state.wall_seconds = elapsed()
            if state.step > self._seen and (state.step < config.steps or not self._updates_due):
                self._after(state.step - self._seen)
                self._seen = state.step
        if not ended and state.step < config.steps:
            self.logs.note("the episodes under way were cut there to save in time")
        if not ended:
            self._cut()
        if self._due():
            self._save()

    def _after(self, steps: int) -> None:
        """What is due now and then, after that many more steps and their updates."""
        config, step = self.config, self.state.step
        if config.dynamic_replay and step % dynamic.EVERY < steps:
            dynamic.shrink(self.replay, self.engine.act, config.buffer_min, config.buffer_drift)
        self._log_if_due(steps)
        self.logs.progress.tick(step, steps)

    def _goes_on(self, ended: bool) -> bool:
        if self.state.step >= self.config.steps:
            return self._updates_due > 0
        return not (ended or self.interrupt.overdue)

    @property
    def _updates(self) -> int:
        """The agent's so far; those of a representation before them are nobody's due."""
        return max(0, self.engine.updates - self.agent.updates_before)

    @property
    def _updates_due(self) -> int:
        return self.limiter.due(self.state.step, self._updates)

    @property
    def _updates_wanted(self) -> int:
        """Before the first that is due come those of the representation alone."""
        due, before = self._updates_due, self.agent.updates_before - self.engine.updates
        return before if due and before > 0 else due

    def _give_orders(self) -> None:
        alone = self.config.actors == 1
        for number in self.crew.idle:
            known = self.state.step + self.crew.ordered
            steps = min(self.config.rollout, self.config.steps - known)
            if steps <= 0 or not self.limiter.admits(steps, known, self._updates):
                return
            begins = number not in self._under_way
            episode = self.state.episode + len(self._under_way) if begins else None
            self._under_way.add(number)
            # An actor alone explores with the generator of the run, as the local loop does.
            rng = dict(self.rng.bit_generator.state) if alone else None
            self.crew.order(number, known, steps, episode, rng, self.engine.statistics)

    def _finished(self) -> list[tuple[int, Rollout | None]]:
        try:
            return self.crew.finished(wait=not self._updates_due)
        except SparlError as error:
            self._rescue()
            raise type(error)(f"{str(error).rstrip(' .')}. {self.folder.resumable()}") from error

    def _take(self, number: int, rollout: Rollout | None) -> bool:
        """Puts a rollout into the replay; answers whether its episode has ended."""
        state = self.state
        if rollout is None:
            # What it had sent of its episode is in the replay, and leads to no other transition.
            self._under_way.discard(number)
            self.replay.cut()
            state.episode += 1
            self.logs.note(f"step {state.step}: actor {number} died; another takes its place")
            return False
        rows = rollout.rows
        for observation in rows[:, : self.spaces.observation_size]:
            self.engine.observe(observation)
        if self.config.actors > 1:
            # What follows in the replay may be another actor's.
            rows = rows.copy()
            rows[-1, -1] = 1.0
        else:
            self.rng.bit_generator.state = rollout.rng
        self.replay.append(rows)
        state.step += len(rows)
        self._staleness.append(self.engine.updates - rollout.version)
        if rollout.ended:
            self._under_way.discard(number)
            state.episode_ended(rollout.episode_return, rollout.length)
            for callback in self.callbacks:
                callback.on_episode(state.step, rollout.episode_return, rollout.length)
        return rollout.ended

    def _learn(self) -> None:
        """Updates that are wanted now, as many as batches are asked for at once."""
        for _ in range(min(self._updates_wanted, AT_ONCE)):
            self._update()
            if self.engine.td_errors is not None:
                self._errors.append(self.engine.td_errors)
        if self._errors:
            self.replay.prioritise(np.stack([np.asarray(found) for found in self._errors]))
            self._errors = []

    def _batch(self) -> np.ndarray:
        if not self._batches:
            count, agent = min(self._updates_wanted, AT_ONCE), self.agent
            n_step = agent.n_step if self.state.step >= agent.n_step_from else 1
            rows = self.replay.sample(count * agent.rows_per_update, self.rng, agent.gamma, n_step)
            self._batches = list(reversed(np.split(rows, count)))
        return self._batches.pop()

    def _step_of(self, update: int) -> int:
        own = max(1, update - self.agent.updates_before)
        return self.agent.learning_starts + math.ceil(own / self.config.samples_per_insert)

    def _updates_in_all(self) -> int:
        return self.limiter.due(self.config.steps, 0)

    def _cut(self) -> None:
        """All episodes under way are given up."""
        self.replay.cut()
        self.state.episode += len(self._under_way)
        self._under_way.clear()

    def _saved(self) -> dict[str, Any]:
        # Whoever resumes begins other episodes: what actors are in the middle of stays with them.
        return super()._saved() | {"episode": self.state.episode + len(self._under_way)}

    def _arrays(self) -> dict[str, Any]:
        priorities = {"priorities": self.replay.priorities()} if self.replay.prioritised else {}
        return super()._arrays() | priorities

    def _arrays_in(self, layouts: dict[str, Any]) -> dict[str, Any]:
        blank = np.zeros(self.replay.capacity + 1, np.float32)
        return super()._arrays_in(layouts) | (
            {"priorities": blank} if self.replay.prioritised else {}
        )

    def _restore(self, arrays: dict[str, Any]) -> None:
        super()._restore(arrays)
        if self.replay.prioritised:
            self.replay.set_priorities(np.asarray(arrays["priorities"]))

    def _figures(self) -> dict[str, Any]:
        staleness = float(np.mean(self._staleness)) if self._staleness else None
        count, sent = self.crew.sent_updates - self._sent[0], self.crew.sent_bytes - self._sent[1]
        self._staleness, self._sent = [], (self.crew.sent_updates, self.crew.sent_bytes)
        return {
            "actors": self.crew.working,
            "samples_per_insert": self.limiter.measured(self.state.step, self._updates),
            "staleness": staleness,
            "broadcast_bytes": sent / count if count else None,
        }

    def _totals(self) -> dict[str, Any]:
        return {
            "samples_per_insert": self.limiter.measured(self.state.step, self._updates),
            "actor_deaths": self.crew.deaths,
            "broadcasts": self.crew.sent_updates,
            "broadcast_bytes": self.crew.sent_bytes / max(1, self.crew.sent_updates),
            "dense_broadcast_bytes": self.publisher.dense_bytes,
        }

    def _about(self) -> str:
        values, topology = self.publisher.newest().values.nbytes, self.publisher.topology.nbytes
        return (
            f"{self.config.actors} actors; a weight update takes {values:,} bytes (dense: "
            f"{self.publisher.dense_bytes:,}), and a change of topology {topology:,} more"
        )
