"""The collector of a run with actors on Ray.

It gives orders, stores their results, and lets the trainer learn in between. One actor that takes a
step at a time does the same as the local collector, in the same order and with the same random
numbers, so a run ends with the same bits. In other cases timing decides which transitions come
first and how old their weights are. Runs differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.distributed import cluster
from sparl.distributed.actor import OrderResult
from sparl.distributed.actor_pool import ActorPool, OrderOutcome
from sparl.distributed.rate_limiter import RateLimiter
from sparl.distributed.remote_replay import RemoteReplay
from sparl.distributed.weights import Publisher
from sparl.errors import SparlError
from sparl.replay import Columns
from sparl.training import Collected, Episode, EpisodePlayer, Host, memory

AT_ONCE = 16
"""Most batches that are sampled in one call, which takes about as long as a small update."""


class RayCollector:
    """A `Collector` whose transitions come from actors; a Ray cluster must be connected."""

    columns: ClassVar[tuple[str, ...]] = (
        "actors",
        "samples_per_insert",
        "staleness",
        "broadcast_bytes",
    )
    most_updates: ClassVar[int | None] = AT_ONCE

    def __init__(self, run: RunConfig, host: Host) -> None:
        self._run, self._host = run, host
        # The learner's own environment gives the spaces. It is never stepped.
        self._player = EpisodePlayer(run, run.maker(), host.where, host.rescue, host.way_out)
        self.env, self.spaces = self._player.env, self._player.spaces
        self.action_space = self.env.action_space
        longest = self._player.longest
        self.longest = longest and longest * run.actors
        self.guarded = self._player.guarded
        self._limiter = RateLimiter(1.0, 0, 1)
        self._memory_note: str | None = None
        self._busy: set[int] = set()
        """The numbers of the actors that have an episode under way."""
        self._staleness: list[int] = []
        self._sent_before = (0, 0)
        """Weight updates and bytes that had been sent when `figures` was last called."""

    def make_replay(self, columns: Columns) -> RemoteReplay:
        """The replay, in a process of its own."""
        run = self._run
        self._memory_note = memory.replay_note(run, columns)
        exponent = run.priority_exponent if run.prioritised else None
        self._replay = RemoteReplay(
            run.buffer_size, columns, self._host.way_out, exponent, run.importance_exponent
        )
        return self._replay

    def schedule(self, agent: Agent) -> RateLimiter:
        """The rate limiter, which takes the place of the agent's own schedule."""
        run, schedule = self._run, agent.schedule
        ratio = run.samples_per_insert * schedule.per_step
        every = schedule.every if schedule.unit == "steps" else 1
        self._limiter = RateLimiter(ratio, schedule.starts, run.actors * run.rollout, every)
        return self._limiter

    def start(self) -> None:
        """Starts the actors."""
        host = self._host
        self._publisher = Publisher(host.engine)
        self._pool = ActorPool(
            self._run, self._player.make, host.agent, self._replay.columns, self._publisher
        )

    def collect(self) -> Iterator[Collected]:
        """Collects until an episode of one of the actors ends, or until the run ends."""
        state, ended = self._host.state, False
        while self._host.updates_due() if state.step >= self._run.steps else not ended:
            self._give_orders()
            stored = [self._store(*outcome) for outcome in self._finished()]
            episodes = tuple(episode for collected in stored for episode in collected.ended)
            ended |= bool(episodes)
            yield Collected(sum(collected.steps for collected in stored), episodes)

    @property
    def under_way(self) -> int:
        """The number of episodes that have begun and not ended."""
        return len(self._busy)

    def cut(self) -> None:
        """Gives up the episodes under way."""
        self._replay.cut()
        self._host.engine.cut_returns()
        self._host.state.episode += len(self._busy)
        self._busy.clear()

    def notes(self) -> list[str]:
        """A sentence on the number of actors and on what they are sent."""
        values, topology = self._publisher.newest().values.nbytes, self._publisher.topology.nbytes
        return [
            *cluster.notes,
            *([] if self._memory_note is None else [self._memory_note]),
            f"{self._run.actors} actors; a weight update takes {values:,} bytes (dense: "
            f"{self._publisher.dense_bytes:,}), and a change of topology {topology:,} more",
        ]

    def figures(self) -> dict[str, Any]:
        """The values of `columns` since the last call.

        `staleness` is the mean number of updates made since the weights that acted.
        `broadcast_bytes` is the mean size of a weight update.
        """
        staleness = float(np.mean(self._staleness)) if self._staleness else None
        pool = self._pool
        updates_before, bytes_before = self._sent_before
        updates, sent = pool.sent_updates - updates_before, pool.sent_bytes - bytes_before
        self._staleness, self._sent_before = [], (pool.sent_updates, pool.sent_bytes)
        return {
            "actors": pool.working,
            "samples_per_insert": self._samples_per_insert,
            "staleness": staleness,
            "broadcast_bytes": sent / updates if updates else None,
        }

    def totals(self) -> dict[str, Any]:
        """Entries of summary.json that only runs with actors have."""
        return {
            "samples_per_insert": self._samples_per_insert,
            "actor_deaths": self._pool.deaths,
            "broadcasts": self._pool.sent_updates,
            "broadcast_bytes": self._pool.sent_bytes / max(1, self._pool.sent_updates),
            "dense_broadcast_bytes": self._publisher.dense_bytes,
        }

    def close(self) -> None:
        """Ends the actors and the replay."""
        self._player.close()
        self._pool.close()
        self._replay.close()

    @property
    def _updates(self) -> int:
        """Updates of the agent so far, without those of a representation that come first."""
        return max(0, self._host.engine.updates - self._host.agent.updates_before)

    @property
    def _samples_per_insert(self) -> float | None:
        """In proportion to the agent's own updates per step, as the option is."""
        measured = self._limiter.measured(self._host.state.step, self._updates)
        return None if measured is None else measured / self._host.agent.schedule.per_step

    def _give_orders(self) -> None:
        with self._rescued():
            self._order_from_idle()

    def _order_from_idle(self) -> None:
        host, run = self._host, self._run
        for number in self._pool.idle:
            ordered = host.state.step + self._pool.ordered
            steps = min(run.rollout, run.steps - ordered)
            if steps <= 0 or not self._limiter.admits(steps, ordered, self._updates):
                return
            begins = number not in self._busy
            episode = host.state.episode + len(self._busy) if begins else None
            self._busy.add(number)
            # A single actor explores with the run's generator, as the local collector does.
            rng = dict(host.rng.bit_generator.state) if run.actors == 1 else None
            self._pool.order(number, ordered, steps, episode, rng, host.engine.statistics)

    def _finished(self) -> list[OrderOutcome]:
        with self._rescued():
            return self._pool.finished(wait=not self._host.updates_due())

    @contextmanager
    def _rescued(self) -> Iterator[None]:
        """A context that saves what was learned before an error ends the run."""
        try:
            yield
        except SparlError as error:
            self._host.rescue()
            raise type(error)(f"{str(error).rstrip(' .')}. {self._host.way_out()}") from error

    def _store(self, number: int, result: OrderResult | None) -> Collected:
        """Puts the transitions of an order into the replay."""
        host = self._host
        if result is None:
            # The replay has the first part of the dead actor's episode, which will not go on.
            self._busy.discard(number)
            self._replay.cut()
            host.engine.cut_returns(number)
            host.state.episode += 1
            host.note(f"step {host.state.step}: actor {number} died and is replaced")
            return Collected(0)
        rows = result.rows
        # As in `Trainer.explore`: before it learns on, it sees as where it learned.
        known = host.state.step < host.agent.learning_starts and self._run.begun_from
        for observation in () if known else rows[:, : self.spaces.observation_size]:
            host.engine.observe(observation)
        reward = self._replay.columns.reward
        host.engine.reward(rows[:, reward], rows[:, -1] > 0, number)
        if self._run.actors > 1:
            # The next transitions in the replay may be those of another actor.
            rows = rows.copy()
            rows[-1, -1] = 1.0
        else:
            host.rng.bit_generator.state = result.rng
        self._replay.append(rows)
        self._staleness.append(host.engine.updates - result.version)
        if not result.ended:
            return Collected(len(rows))
        self._busy.discard(number)
        return Collected(len(rows), (Episode(result.episode_return, result.length),))
