"""Updates from logs alone, before the first environment step: a collector around another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.training.collector import Collected, Collector, Host, Schedule

AT_ONCE = 16
"""Updates between two looks at whether the run is to stop."""


class PretrainingSchedule:
    """Updates that are due before the first step, and then those of another schedule."""

    def __init__(self, updates: int, then: Schedule) -> None:
        self.updates, self._then = updates, then
        self.allowed = 0
        """Of these updates, those that may be made by now."""

    def planned(self, step: int) -> int:
        return self.updates + self._then.planned(step)

    def due(self, step: int, episodes: int, ended: bool, made: int) -> int:
        if made < self.updates:
            return max(0, min(self.allowed, self.updates) - made)
        return self._then.due(step, episodes, ended, made - self.updates)

    def step_of(self, update: int) -> int:
        return 0 if update <= self.updates else self._then.step_of(update - self.updates)


class PretrainingCollector:
    """A `Collector` whose run makes updates before another one collects for it.

    All that it does not say itself is as the other one says it.
    """

    # By name, because isinstance, by which types are checked, asks no __getattr__ from Python 3.12.
    spaces = property(attrgetter("_inner.spaces"))
    action_space = property(attrgetter("_inner.action_space"))
    columns = property(attrgetter("_inner.columns"))
    most_updates = property(attrgetter("_inner.most_updates"))
    env = property(attrgetter("_inner.env"))
    longest = property(attrgetter("_inner.longest"))
    make_replay = property(attrgetter("_inner.make_replay"))
    start = property(attrgetter("_inner.start"))
    under_way = property(attrgetter("_inner.under_way"))
    cut = property(attrgetter("_inner.cut"))
    guarded = property(attrgetter("_inner.guarded"))
    figures = property(attrgetter("_inner.figures"))
    totals = property(attrgetter("_inner.totals"))
    close = property(attrgetter("_inner.close"))

    def __init__(
        self, collector: Callable[[RunConfig, Any], Collector], run: RunConfig, host: Host
    ) -> None:
        """
        Args:
            collector: Makes the other one.
        """
        self._inner = collector(run, host)
        self._updates, self._host = run.pretrain_updates, host

    def schedule(self, agent: Agent) -> PretrainingSchedule:
        self._schedule = PretrainingSchedule(self._updates, self._inner.schedule(agent))
        return self._schedule

    def notes(self) -> list[str]:
        before = f"{self._updates} updates from the logs alone come before the first step"
        return [before, *self._inner.notes()]

    def collect(self) -> Iterator[Collected | None]:
        """No steps while updates from the logs are to be made, and then the other one's."""
        while (made := self._made) < self._updates:
            self._schedule.allowed = made + AT_ONCE
            yield Collected(0)
            if not self._host.another_episode():
                return
            if self._made >= self._updates:
                self._host.note(f"{self._updates} updates from the logs are made")
        yield from self._inner.collect()

    @property
    def _made(self) -> int:
        """The agent's updates so far, without those of a representation that come first."""
        return max(0, self._host.state.updates - self._host.agent.updates_before)
