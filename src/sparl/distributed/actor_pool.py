"""The actors of a run as the learner sees them: it gives orders, waits, and replaces the dead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import cloudpickle
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from sparl.config import RunConfig
from sparl.distributed import cluster
from sparl.distributed.actor import ActorProcess, Order, OrderResult
from sparl.distributed.weights import Publisher
from sparl.envs import EnvMaker
from sparl.errors import BadRun, SparlError
from sparl.networks import RunningStatistics
from sparl.plugins import file_module
from sparl.replay import Columns

PATIENCE = 3
"""How often in a row an actor may die without a result."""
WAIT = 1.0
"""Seconds to wait for a result, so that a request to stop is seen in time."""


class ActorSlot:
    """One place in the pool: a process of an actor, and what was sent to it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """
        Args:
            make: Starts a process, and gives Ray's handle of it.
        """
        self._make = make
        self.deaths = 0
        """Deaths in a row without a result."""
        self.respawn()

    def respawn(self) -> None:
        """Starts a new process in place of the one before."""
        self.handle = self._make()
        self.version, self.topology_version = -1, 0
        self.working = False
        """Whether the process has given a result, so it and its environment work."""


class PendingOrder(NamedTuple):
    """An order that an actor has not finished yet."""

    number: int
    """The number of the actor."""
    steps: int


class OrderOutcome(NamedTuple):
    """How an order ended."""

    number: int
    """The number of the actor."""
    result: OrderResult | None
    """What the actor gave back; None if it died over the order."""


class Shared(NamedTuple):
    """An object in Ray's store, which every actor can read."""

    version: int
    reference: Any


class ActorPool:
    """The actors of a run, to which the learner gives orders."""

    def __init__(
        self,
        run: RunConfig,
        make: EnvMaker,
        agent: Any,
        columns: Columns,
        publisher: Publisher,
    ) -> None:
        kind = cluster.on_any_machine(ActorProcess)
        # With the learner's path, actors can import the same modules, such as an environment's.
        arguments = run, cloudpickle.dumps(make), _pickled(agent), columns, tuple(sys.path)
        self._slots = [ActorSlot(lambda: kind.remote(*arguments)) for _ in range(run.actors)]
        self._publisher = publisher
        self._pending: dict[Any, PendingOrder] = {}
        self._weights = Shared(-1, None)
        self._topology = Shared(0, None)
        self.deaths = 0
        """Deaths of all actors so far."""
        self.sent_bytes, self.sent_updates = 0, 0
        """Weight updates and their bytes, counted once for every actor that they were sent to."""

    @property
    def idle(self) -> list[int]:
        """The numbers of the actors without an order."""
        busy = {order.number for order in self._pending.values()}
        return [i for i in range(len(self._slots)) if i not in busy]

    @property
    def ordered(self) -> int:
        """The largest number of steps that the pending orders can give."""
        return sum(order.steps for order in self._pending.values())

    @property
    def working(self) -> int:
        """The number of actors that have given a result since they were started."""
        return sum(slot.working for slot in self._slots)

    def order(
        self,
        number: int,
        step: int,
        steps: int,
        episode: int | None,
        rng: dict[str, Any] | None,
        statistics: RunningStatistics | None,
    ) -> None:
        """Gives an order to an idle actor, with the newest weights; for the arguments see `Order`.

        Args:
            number: The number of the actor.

        Raises:
            BadRun: Ray itself has failed.
        """
        with cluster.failures():
            self._order(number, Order(step, steps, episode, -1, rng, statistics))

    def _order(self, number: int, order: Order) -> None:
        slot, weights = self._slots[number], self._publisher.newest()
        if weights.version != self._weights.version:
            self._weights = Shared(weights.version, ray.put(weights.values))
        if weights.topology_version != self._topology.version:
            self._topology = Shared(weights.topology_version, ray.put(self._publisher.topology))
        values, topology = None, None
        if slot.topology_version != weights.topology_version:
            topology, slot.topology_version = self._topology.reference, weights.topology_version
            self.sent_bytes += self._publisher.topology.nbytes
        if slot.version != weights.version:
            values, slot.version = self._weights.reference, weights.version
            self.sent_bytes += weights.values.nbytes
            self.sent_updates += 1
        order = order._replace(version=weights.version)
        reference = slot.handle.collect.remote(order, values, topology)
        self._pending[reference] = PendingOrder(number, order.steps)

    def finished(self, wait: bool) -> list[OrderOutcome]:
        """The outcomes of the orders that are finished now.

        An actor that has died is replaced.

        Args:
            wait: Whether to wait for the first outcome, for a second at most.

        Raises:
            SparlError: What an environment raised in an actor.
            BadRun: An actor dies again and again, or Ray itself has failed.
        """
        references = list(self._pending)
        if not references:
            return []
        with cluster.failures():
            done, _ = ray.wait(references, num_returns=1, timeout=WAIT if wait else 0)
            if done and len(references) > 1:
                done, _ = ray.wait(references, num_returns=len(references), timeout=0)
            return [self._outcome(reference) for reference in done]

    def close(self) -> None:
        """Ends all actors."""
        for slot in self._slots:
            with suppress(RayError):
                ray.kill(slot.handle)

    def _outcome(self, reference: Any) -> OrderOutcome:
        number = self._pending.pop(reference).number
        slot = self._slots[number]
        try:
            result: Any = ray.get(reference)
        except RayActorError as error:
            self.deaths += 1
            slot.deaths += 1
            if slot.deaths > PATIENCE:
                raise BadRun(
                    f"actor {number} has died {slot.deaths} times without a result: "
                    f"{str(error).splitlines()[0]}"
                ) from error
            slot.respawn()
            return OrderOutcome(number, None)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, SparlError) else error) from None
        slot.deaths, slot.working = 0, True
        return OrderOutcome(number, result)


def _pickled(agent: Any) -> bytes:
    """The agent, with the code of its class where other processes cannot import it."""
    module = file_module(type(agent))
    if module is None:
        return cloudpickle.dumps(agent)
    for defined in vars(module).values():
        # msgspec keeps on a class what it has learned of it, which nothing can pickle.
        if isinstance(defined, type) and "__msgspec_cache__" in vars(defined):
            del defined.__msgspec_cache__  # pyright: ignore[reportAttributeAccessIssue]
    cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(agent)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
