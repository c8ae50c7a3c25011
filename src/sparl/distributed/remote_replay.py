"""The replay in a process of its own, and the learner's side of it.

The learner uses its side as any other replay: it samples from it and saves it in checkpoints. All
random numbers are drawn on the learner's side, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from jaxtyping import Float, Int
from numpy.typing import NDArray
from ray.exceptions import RayActorError, RayError, RayTaskError

from sparl.distributed import cluster
from sparl.errors import BadRun
from sparl.replay import Columns, Priorities, Replay


class ReplayServer:
    """A replay, with priorities if there is an exponent; it runs in a process of its own.

    Its methods do the same as those of `Replay`.
    """

    def __init__(self, capacity: int, columns: Columns, exponent: float | None) -> None:
        """
        Args:
            exponent: The exponent of the priorities; None for uniform sampling.
        """
        self._replay = Replay(capacity, columns)
        self._priorities = None if exponent is None else Priorities(capacity, exponent)

    def restore(self, first: int, rows: NDArray[np.float32]) -> None:
        """Stores transitions; they get the highest priority so far."""
        self._replay.restore(first, rows)
        if self._priorities is not None:
            numbers = np.arange(first, first + len(rows))
            self._priorities.set(numbers % self._replay.capacity, self._priorities.highest)

    def cut(self) -> None:
        """See `Replay.cut`."""
        self._replay.cut()

    def drop(self, count: int) -> None:
        """See `Replay.drop`; dropped transitions have priority 0."""
        if self._priorities is not None:
            numbers = self._replay.oldest + np.arange(count)
            self._priorities.set(numbers % self._replay.capacity, 0.0)
        self._replay.drop(count)

    def span(self, first: int, end: int) -> NDArray[np.float32]:
        """See `Replay.span`."""
        return self._replay.span(first, end)

    def rows_at(self, first: NDArray[np.int64], gamma: float, n_step: int) -> NDArray[np.float32]:
        """See `Replay.rows_at`."""
        return self._replay.rows_at(first, gamma, n_step)

    def draw(
        self, uniform: Float[np.ndarray, " k"], importance: float, gamma: float, n_step: int
    ) -> tuple[Int[np.ndarray, " k"], NDArray[np.float32]]:
        """Draws transitions by their priorities (1511.05952).

        Args:
            uniform: Random numbers in [0, 1).
            importance: Exponent of the importance weights: beta in the paper.

        Returns:
            The numbers of the transitions, and their rows, [k, width + 1]. The last column is the
            weight, (size * probability) ** -importance, scaled so that the largest is 1.
        """
        replay, priorities = self._replay, self._require_priorities()
        places, probability = priorities.draw(uniform)
        newest = replay.added - 1
        first = newest - (newest - places) % replay.capacity
        weights = (replay.size * probability) ** -importance
        rows = replay.rows_at(first, gamma, n_step)
        return first, np.column_stack([rows, (weights / weights.max()).astype(np.float32)])

    def prioritise(self, first: Int[np.ndarray, " k"], errors: Float[np.ndarray, " k"]) -> None:
        """Sets priorities by absolute TD errors, for the transitions that are still stored."""
        stored = first >= self._replay.oldest
        places = first[stored] % self._replay.capacity
        self._require_priorities().set_errors(places, errors[stored])

    def priorities(self) -> NDArray[np.float32]:
        """See `Priorities.state`."""
        return self._require_priorities().state

    def set_priorities(self, state: NDArray[np.float32]) -> None:
        """Restores what `priorities` gave."""
        self._require_priorities().state = state

    def _require_priorities(self) -> Priorities:
        if self._priorities is None:
            raise AssertionError("this replay draws uniformly")
        return self._priorities


class RemoteReplay(Replay):
    """A `Replay` whose rows are in another process on the learner's machine.

    Calls that change it return at once. They are carried out in their order.
    """

    def __init__(
        self,
        capacity: int,
        columns: Columns,
        way_out: Callable[[], str],
        exponent: float | None = None,
        importance: float = 0.0,
    ) -> None:
        """
        Args:
            way_out: Gives a sentence on what the run can be resumed from, for the message when the
                process has died.
            exponent: The exponent of the priorities; None for uniform sampling.
            importance: The exponent of the importance weights.
        """
        self.columns, self.added, self._dropped = columns, 0, 0
        self._capacity, self._importance = capacity, importance
        self.prioritised = exponent is not None
        self._way_out = way_out
        self._drawn = np.zeros(0, np.int64)
        """The numbers of the transitions in the newest sample."""
        self._server: Any = cluster.on_this_machine(ReplayServer).remote(
            capacity, columns, exponent
        )

    @property
    def capacity(self) -> int:
        """The largest number of transitions."""
        return self._capacity

    def append(self, rows: NDArray[np.float32]) -> None:
        """Appends transitions, [n, width]."""
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
        return self._get(self._server.span.remote(first, end))

    def sample(
        self, batch_size: int, rng: np.random.Generator, gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        """See `Replay.sample`; with priorities the last column has importance weights.

        Raises:
            BadRun: The replay's process has died.
        """
        if not self.prioritised:
            return super().sample(batch_size, rng, gamma, n_step)
        uniform = rng.random(batch_size)
        drawn = self._server.draw.remote(uniform, self._importance, gamma, n_step)
        first, rows = self._get(drawn)
        # In the order of the draw every batch of several would be a stretch of the replay.
        order = rng.permutation(batch_size)
        self._drawn = first[order]
        return rows[order]

    def rows_at(
        self, first: NDArray[np.int64], gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        return self._get(self._server.rows_at.remote(first, gamma, n_step))

    def prioritise(self, errors: Float[np.ndarray, "updates batch"]) -> None:
        """Sets the priorities of the newest sample by its absolute TD errors.

        Args:
            errors: For each update the errors of the rows of its loss. If an update used more rows,
                these are the first ones.
        """
        count, batch = errors.shape
        first = self._drawn.reshape(count, -1)[:, :batch]
        self._server.prioritise.remote(first.ravel(), errors.ravel())

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The priorities of all rows and of new ones, [capacity + 1], if there are priorities."""
        if not self.prioritised:
            return {}
        return {"priorities": self._get(self._server.priorities.remote())}

    def restore_arrays(self, arrays: dict[str, Any]) -> None:
        if self.prioritised:
            self._server.set_priorities.remote(np.asarray(arrays["priorities"]))

    def close(self) -> None:
        """Ends the process."""
        with suppress(RayError):
            ray.kill(self._server)

    def _get(self, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except RayActorError as error:
            raise BadRun(f"the replay's process has died. {self._way_out()}") from error
        except RayTaskError:
            raise
        except RayError as error:
            told = " ".join(str(error).split())
            raise BadRun(f"the replay cannot be reached: {told}. {self._way_out()}") from error
