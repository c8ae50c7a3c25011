"""The actors of a run, to the learner: given orders, waited for, replaced when they die."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayActorError, RayTaskError

from sparl.config import RunConfig
from sparl.distributed import cluster
from sparl.distributed.actor import ActorProcess, Order, Rollout
from sparl.distributed.weights import Publisher
from sparl.errors import BadRun, SparlError
from sparl.networks import RunningStatistics
from sparl.replay import Columns

PATIENCE = 3
"""Times in a row that an actor may die without having given anything."""
WAIT = 1.0
"""Seconds after which waiting is over without a result, so that a request to stop is seen."""


class Member:
    """One actor: its process, and what that has been sent."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.deaths = 0
        self.respawn()

    def respawn(self) -> None:
        """A new process in place of the one there was."""
        self.handle = self._make()
        self.version, self.topology = -1, 0
        self.working = False
        """It has given something: its process and its environment are there."""


class Under(NamedTuple):
    """An order under way."""

    member: int
    steps: int


class ActorPool:
    """So many actors. The learner gives orders to those that are idle, and takes what they give."""

    def __init__(self, run: RunConfig, agent: Any, columns: Columns, publisher: Publisher) -> None:
        kind = cluster.anywhere(ActorProcess)
        # What the learner can import, an environment's module say, its actors can, too.
        arguments = run, agent, columns, tuple(sys.path)
        self._members = [Member(lambda: kind.remote(*arguments)) for _ in range(run.actors)]
        self._publisher = publisher
        self._under_way: dict[Any, Under] = {}
        self._weights: tuple[int, Any] = (-1, None)
        self._topology: tuple[int, Any] = (0, None)
        self.deaths = 0
        self.sent_bytes, self.sent_updates = 0, 0
        """Payload of weight updates, each counted for every actor that it went to."""

    @property
    def idle(self) -> list[int]:
        """Those without an order, by number."""
        busy = {under.member for under in self._under_way.values()}
        return [i for i in range(len(self._members)) if i not in busy]

    @property
    def ordered(self) -> int:
        """Steps under way, at most."""
        return sum(under.steps for under in self._under_way.values())

    @property
    def working(self) -> int:
        """Actors that have given something since they were started."""
        return sum(member.working for member in self._members)

    def order(
        self,
        number: int,
        step: int,
        steps: int,
        episode: int | None,
        rng: dict[str, Any] | None,
        statistics: RunningStatistics | None,
    ) -> None:
        """Has an idle actor take steps with the newest weights: see `Order`."""
        member, weights = self._members[number], self._publisher.newest()
        if weights.version != self._weights[0]:
            self._weights = weights.version, ray.put(weights.values)
        if weights.topology != self._topology[0]:
            self._topology = weights.topology, ray.put(self._publisher.topology)
        values, topology = None, None
        if member.topology != weights.topology:
            topology, member.topology = self._topology[1], weights.topology
            self.sent_bytes += self._publisher.topology.nbytes
        if member.version != weights.version:
            values, member.version = self._weights[1], weights.version
            self.sent_bytes += weights.values.nbytes
            self.sent_updates += 1
        order = Order(step, steps, episode, weights.version, rng, statistics)
        reference = member.handle.collect.remote(order, values, topology)
        self._under_way[reference] = Under(number, steps)

    def finished(self, wait: bool) -> list[tuple[int, Rollout | None]]:
        """Who has done what was ordered, and the result; None of one that died over it.

        With `wait` it waits for the first, a second at most. Raises what an environment raised,
        and `BadRun` where an actor dies again and again.
        """
        references = list(self._under_way)
        if not references:
            return []
        done, _ = ray.wait(references, num_returns=1, timeout=WAIT if wait else 0)
        if done and len(references) > 1:
            done, _ = ray.wait(references, num_returns=len(references), timeout=0)
        return [self._result(reference) for reference in done]

    def close(self) -> None:
        for member in self._members:
            ray.kill(member.handle)

    def _result(self, reference: Any) -> tuple[int, Rollout | None]:
        number = self._under_way.pop(reference).member
        member = self._members[number]
        try:
            rollout: Any = ray.get(reference)
        except RayActorError as error:
            self.deaths += 1
            member.deaths += 1
            if member.deaths > PATIENCE:
                raise BadRun(
                    f"actor {number} has died {member.deaths} times without a result: "
                    f"{str(error).splitlines()[0]}"
                ) from error
            member.respawn()
            return number, None
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, SparlError) else error) from None
        member.deaths, member.working = 0, True
        return number, rollout
