"""The replay in a process of its own, and the learner's side of it.

The learner's side looks like the replay that it stands for: the loop samples from it, and
checkpoints are made of it, as of any other. All random numbers are drawn there, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from jaxtyping import Float, Int
from numpy.typing import NDArray
from ray.exceptions import RayActorError

from sparl.distributed import cluster
from sparl.errors import BadRun
from sparl.replay import Columns, Priorities, Replay


class ReplayServer:
    """A replay, and the priorities of its transitions if there are any."""

    def __init__(self, capacity: int, columns: Columns, exponent: float | None) -> None:
        self._replay = Replay(capacity, columns)
        self._priorities = None if exponent is None else Priorities(capacity, exponent)

    def restore(self, first: int, rows: NDArray[np.float32]) -> None:
        self._replay.restore(first, rows)
        if self._priorities is not None:
            numbers = np.arange(first, first + len(rows))
            self._priorities.set(numbers % self._replay.capacity, self._priorities.highest)

    def cut(self) -> None:
        self._replay.cut()

    def drop(self, count: int) -> None:
        if self._priorities is not None:
            numbers = self._replay.oldest + np.arange(count)
            self._priorities.set(numbers % self._replay.capacity, 0.0)
        self._replay.drop(count)

    def span(self, first: int, end: int) -> NDArray[np.float32]:
        return self._replay.span(first, end)

    def rows_at(self, first: NDArray[np.int64], gamma: float, n_step: int) -> NDArray[np.float32]:
        return self._replay.rows_at(first, gamma, n_step)

    def draw(
        self, uniform: Float[np.ndarray, " k"], importance: float, gamma: float, n_step: int
    ) -> tuple[Int[np.ndarray, " k"], NDArray[np.float32]]:
        """Numbers of transitions, and their rows with importance weights behind: [k, width + 1].

        The weights, (size * probability) ** -importance, are scaled so that the greatest is 1.
        """
        replay, priorities = self._replay, self._given()
        places, probability = priorities.draw(uniform)
        newest = replay.added - 1
        first = newest - (newest - places) % replay.capacity
        weights = (replay.size * probability) ** -importance
        rows = replay.rows_at(first, gamma, n_step)
        return first, np.column_stack([rows, (weights / weights.max()).astype(np.float32)])

    def prioritise(self, first: Int[np.ndarray, " k"], errors: Float[np.ndarray, " k"]) -> None:
        """Takes the absolute TD errors of transitions, so far as they are still there."""
        there = first >= self._replay.oldest
        self._given().set_errors(first[there] % self._replay.capacity, errors[there])

    def priorities(self) -> NDArray[np.float32]:
        return self._given().state

    def set_priorities(self, state: NDArray[np.float32]) -> None:
        self._given().state = state

    def _given(self) -> Priorities:
        if self._priorities is None:
            raise AssertionError("this replay draws uniformly")
        return self._priorities


class RemoteReplay(Replay):
    """A `Replay` whose rows are in another process, on the learner's machine.

    Calls that change it return at once, and are carried out in their order.
    """

    def __init__(
        self,
        capacity: int,
        columns: Columns,
        way_out: Callable[[], str],
        exponent: float | None = None,
        importance: float = 0.0,
    ) -> None:
        """With an `exponent` of priorities it is prioritised; `importance` is the weights'.

        `way_out` tells what can be resumed from when its process has died (`BadRun`).
        """
        self.columns, self.added, self._dropped = columns, 0, 0
        self._capacity, self._importance = capacity, importance
        self.prioritised = exponent is not None
        self._way_out = way_out
        self._drawn = np.zeros(0, np.int64)
        self._server: Any = cluster.here(ReplayServer).remote(capacity, columns, exponent)

    @property
    def capacity(self) -> int:
        return self._capacity

    def append(self, rows: NDArray[np.float32]) -> None:
        """Adds transitions, [n, width], in their order."""
        self.restore(self.added, rows)

    def restore(self, first: int, rows: NDArray[np.float32]) -> None:
        self._server.restore.remote(first, rows)
        self.added = first + len(rows)

    def cut(self) -> None:
        self._server.cut.remote()

    def drop(self, count: int) -> None:
        self._server.drop.remote(count)
        super().drop(count)

    def span(self, first: int, end: int) -> NDArray[np.float32]:
        return self._answer(self._server.span.remote(first, end))

    def sample(
        self, batch_size: int, rng: np.random.Generator, gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        """As of any replay; a prioritised one puts a column of importance weights behind."""
        if not self.prioritised:
            return super().sample(batch_size, rng, gamma, n_step)
        asked = self._server.draw.remote(rng.random(batch_size), self._importance, gamma, n_step)
        self._drawn, rows = self._answer(asked)
        return rows

    def rows_at(
        self, first: NDArray[np.int64], gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        return self._answer(self._server.rows_at.remote(first, gamma, n_step))

    def prioritise(self, errors: Float[np.ndarray, "updates batch"]) -> None:
        """Takes the absolute TD errors of the newest sample: of the first rows for each update, if
        it took more."""
        count, batch = errors.shape
        first = self._drawn.reshape(count, -1)[:, :batch]
        self._server.prioritise.remote(first.ravel(), errors.ravel())

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The priorities of every row, and what a new one gets: [capacity + 1]."""
        if not self.prioritised:
            return {}
        return {"priorities": self._answer(self._server.priorities.remote())}

    def restore_arrays(self, arrays: dict[str, Any]) -> None:
        if self.prioritised:
            self._server.set_priorities.remote(np.asarray(arrays["priorities"]))

    def close(self) -> None:
        ray.kill(self._server)

    def _answer(self, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except RayActorError as error:
            raise BadRun(f"the replay's process has died. {self._way_out()}") from error
