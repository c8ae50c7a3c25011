"""Actors on Ray as the collector of a run: order, take, and let the trainer learn in between.

With one actor that takes a step at a time this is the local collector, in the same order and with
the same random numbers: a run ends with the same bits. Otherwise which transitions come first, and
with how old weights they were made, is a matter of time; what a run may differ in is no more than
that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.distributed.actor import Rollout
from sparl.distributed.actor_pool import ActorPool
from sparl.distributed.rate_limiter import RateLimiter
from sparl.distributed.remote_replay import RemoteReplay
from sparl.distributed.weights import Publisher
from sparl.errors import SparlError
from sparl.replay import Columns
from sparl.training import Collected, Episode, EpisodePlayer, Host

AT_ONCE = 16
"""Most batches that are asked for at once; asking takes about as long as a small update."""


class RayCollector:
    """The actors of a run; a Ray cluster must be connected."""

    columns: ClassVar[tuple[str, ...]] = (
        "actors",
        "samples_per_insert",
        "staleness",
        "broadcast_bytes",
    )
    most_updates: ClassVar[int | None] = AT_ONCE

    def __init__(self, run: RunConfig, host: Host) -> None:
        self._run, self._host = run, host
        # An environment of the learner's own tells the spaces; nothing steps it.
        self._player = EpisodePlayer(run, host.where, host.rescue, host.way_out)
        self.spaces, self.action_space = self._player.spaces, self._player.env.action_space
        self.guarded = self._player.guarded
        self._limiter = RateLimiter(1.0, 0, 1)
        self._busy: set[int] = set()
        """Actors that are in an episode."""
        self._staleness: list[int] = []
        self._sent = (0, 0)

    def make_replay(self, columns: Columns) -> RemoteReplay:
        run = self._run
        exponent = run.priority_exponent if run.prioritised else None
        self._replay = RemoteReplay(
            run.buffer_size, columns, self._host.way_out, exponent, run.importance_exponent
        )
        return self._replay

    def schedule(self, agent: Agent) -> RateLimiter:
        """Updates at their ratio to transitions, whenever both are there."""
        run, agents = self._run, agent.schedule
        ratio = run.samples_per_insert * agents.per_step
        self._limiter = RateLimiter(ratio, agents.starts, run.actors * run.rollout)
        return self._limiter

    def start(self) -> None:
        host = self._host
        self._publisher = Publisher(host.engine)
        self._pool = ActorPool(self._run, host.agent, self._replay.columns, self._publisher)

    def collect(self) -> Iterator[Collected]:
        """Until an episode of one of the actors ends, or the run does."""
        state, ended = self._host.state, False
        while self._host.updates_due() if state.step >= self._run.steps else not ended:
            self._give_orders()
            collected = [self._take(*result) for result in self._finished()]
            episodes = tuple(episode for found in collected for episode in found.ended)
            ended |= bool(episodes)
            yield Collected(sum(found.steps for found in collected), episodes)

    @property
    def under_way(self) -> int:
        return len(self._busy)

    def cut(self) -> None:
        self._replay.cut()
        self._host.state.episode += len(self._busy)
        self._busy.clear()

    def notes(self) -> list[str]:
        values, topology = self._publisher.newest().values.nbytes, self._publisher.topology.nbytes
        return [
            f"{self._run.actors} actors; a weight update takes {values:,} bytes (dense: "
            f"{self._publisher.dense_bytes:,}), and a change of topology {topology:,} more"
        ]

    def figures(self) -> dict[str, Any]:
        staleness = float(np.mean(self._staleness)) if self._staleness else None
        pool = self._pool
        count, sent = pool.sent_updates - self._sent[0], pool.sent_bytes - self._sent[1]
        self._staleness, self._sent = [], (pool.sent_updates, pool.sent_bytes)
        return {
            "actors": pool.working,
            "samples_per_insert": self._measured,
            "staleness": staleness,
            "broadcast_bytes": sent / count if count else None,
        }

    def totals(self) -> dict[str, Any]:
        return {
            "samples_per_insert": self._measured,
            "actor_deaths": self._pool.deaths,
            "broadcasts": self._pool.sent_updates,
            "broadcast_bytes": self._pool.sent_bytes / max(1, self._pool.sent_updates),
            "dense_broadcast_bytes": self._publisher.dense_bytes,
        }

    def close(self) -> None:
        self._player.close()
        self._pool.close()
        self._replay.close()

    @property
    def _updates(self) -> int:
        """The agent's so far; those of a representation before them are nobody's due."""
        return max(0, self._host.engine.updates - self._host.agent.updates_before)

    @property
    def _measured(self) -> float | None:
        return self._limiter.measured(self._host.state.step, self._updates)

    def _give_orders(self) -> None:
        host, run = self._host, self._run
        for number in self._pool.idle:
            known = host.state.step + self._pool.ordered
            steps = min(run.rollout, run.steps - known)
            if steps <= 0 or not self._limiter.admits(steps, known, self._updates):
                return
            begins = number not in self._busy
            episode = host.state.episode + len(self._busy) if begins else None
            self._busy.add(number)
            # An actor alone explores with the generator of the run, as the local collector does.
            rng = dict(host.rng.bit_generator.state) if run.actors == 1 else None
            self._pool.order(number, known, steps, episode, rng, host.engine.statistics)

    def _finished(self) -> list[tuple[int, Rollout | None]]:
        try:
            return self._pool.finished(wait=not self._host.updates_due())
        except SparlError as error:
            self._host.rescue()
            raise type(error)(f"{str(error).rstrip(' .')}. {self._host.way_out()}") from error

    def _take(self, number: int, rollout: Rollout | None) -> Collected:
        """Puts a rollout into the replay."""
        host = self._host
        if rollout is None:
            # What it had sent of its episode is in the replay, and leads to no other transition.
            self._busy.discard(number)
            self._replay.cut()
            host.state.episode += 1
            host.note(f"step {host.state.step}: actor {number} died; another takes its place")
            return Collected(0)
        rows = rollout.rows
        for observation in rows[:, : self.spaces.observation_size]:
            host.engine.observe(observation)
        if self._run.actors > 1:
            # What follows in the replay may be another actor's.
            rows = rows.copy()
            rows[-1, -1] = 1.0
        else:
            host.rng.bit_generator.state = rollout.rng
        self._replay.append(rows)
        self._staleness.append(host.engine.updates - rollout.version)
        if not rollout.ended:
            return Collected(len(rows))
        self._busy.discard(number)
        return Collected(len(rows), (Episode(rollout.episode_return, rollout.length),))
