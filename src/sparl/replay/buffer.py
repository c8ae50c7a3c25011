"""Uniform replay in one flat, preallocated array.

A transition is one row of float32: observation, action, reward, next observation, terminated,
ended. A batch is one gather and one array into the compiled update, which cuts it into columns.

Episodes of several environments may be under way at once. Their transitions lie in the order in
which they came, mixed; each says where its episode's next one lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sparl.replay.batch import Batch
from sparl.replay.rollout import Rollout


@dataclass(frozen=True)
class Columns:
    """Where the fields of a transition lie in its row.

    The last column of a stored row is `ended`: 1 where the episode goes no further, terminated,
    truncated or cut; else 0, or minus the number of other episodes' rows before its next one. A
    sampled row has the discount of what follows in its place.
    """

    observation_size: int
    action_size: int
    """Of a continuous action; or how many choices there are, of which a row stores the number."""
    discrete: bool = False
    extras: tuple[str, ...] = ()
    """Of what comes behind the rows of an agent's rollouts; stored rows have no such columns."""

    @property
    def stored_action(self) -> int:
        """Columns of the action."""
        return 1 if self.discrete else self.action_size

    @property
    def width(self) -> int:
        return 2 * self.observation_size + self.stored_action + 3

    @property
    def reward(self) -> int:
        """The column of the reward; the next observation begins behind it."""
        return self.observation_size + self.stored_action

    def split(self, rows: Float[jax.Array, "batch width"]) -> Batch:
        """The fields of sampled rows; behind them come extras, or importance weights."""
        o, r, w = self.observation_size, self.reward, self.width
        behind = dict(zip(self.extras or ("weight",), rows[:, w:].T, strict=False))
        return Batch(
            observation=rows[:, :o],
            action=rows[:, o:r],
            reward=rows[:, r],
            next_observation=rows[:, r + 1 : w - 2],
            terminated=rows[:, w - 2],
            discount=rows[:, w - 1],
            weight=behind.pop("weight", None),
            extras=behind or None,
        )


class Replay:
    """The newest `capacity` transitions, in a ring, or fewer of them.

    `added` counts all transitions ever added; transition number t lies in row t mod capacity.
    Those from `oldest` on are there. They are of `streams` environments.
    """

    prioritised: bool = False
    """Whether rows are drawn by priorities; sampled rows have importance weights then."""

    def __init__(self, capacity: int, columns: Columns, streams: int = 1) -> None:
        # Untouched pages of a large zeroed array cost no memory until they are written.
        self.rows: NDArray[np.float32] = np.zeros((capacity, columns.width), np.float32)
        self.columns = columns
        self.added = 0
        self._dropped = 0
        self._open = [-1] * streams
        """By stream: number of the newest transition, where its episode goes on; or -1."""

    @property
    def capacity(self) -> int:
        return len(self.rows)

    @property
    def oldest(self) -> int:
        """Number of the oldest transition kept."""
        return max(self._dropped, self.added - self.capacity)

    @property
    def size(self) -> int:
        return self.added - self.oldest

    def add(
        self,
        observation: NDArray[np.float32],
        action: NDArray[np.float32] | int,
        reward: float,
        next_observation: NDArray[np.float32],
        terminated: bool,
        ended: bool,
        stream: int = 0,
    ) -> None:
        """Appends one transition; `action` as the agent gave it, in [-1, 1] or a choice.

        `ended`: the episode goes no further, whether by itself (`terminated`) or not. `stream`: the
        environment that it is of, whose transitions come in their order.
        """
        before = self._open[stream]
        if before >= self.oldest:
            self.rows[before % self.capacity, -1] = before + 1 - self.added
        self._open[stream] = -1 if ended else self.added
        o, r = self.columns.observation_size, self.columns.reward
        row = self.rows[self.added % self.capacity]
        row[:o] = observation
        row[o:r] = action
        row[r] = reward
        row[r + 1 : -2] = next_observation
        row[-2] = terminated
        row[-1] = ended
        self.added += 1

    def cut(self) -> None:
        """The episodes under way will not go on, though they had not ended."""
        for number in self._open:
            if number >= self.oldest:
                self.rows[number % self.capacity, -1] = 1.0
        self._open = [-1] * len(self._open)

    def sample(
        self, batch_size: int, rng: np.random.Generator, gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        """`batch_size` rows drawn uniformly, with replacement, [batch, width]: see `rows_at`."""
        return self.rows_at(self.oldest + rng.integers(0, self.size, batch_size), gamma, n_step)

    def rows_at(
        self, first: NDArray[np.int64], gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        """Rows that start at the transitions of these numbers, [batch, width].

        Each goes over m of its episode: `n_step`, or fewer where that ends or its newest transition
        is reached before. Its reward is the sum of theirs, discounted by `gamma`; where it leads
        to, and whether it terminates, are the last one's; its discount is gamma to the power of m.
        No off-policy correction is made.

        Always a fresh array: the compiled update may still be reading the one before.
        """
        rows = self.rows.take(first % self.capacity, axis=0)
        if n_step == 1:
            rows[:, -1] = gamma
        else:
            self._sum_rewards(rows, first, gamma, n_step)
        return rows

    def newest(self, batch_size: int, gamma: float) -> NDArray[np.float32]:
        """The `batch_size` newest rows, as `sample` gives them for one step; oldest first."""
        rows = self.span(self.added - batch_size, self.added)
        rows[:, -1] = gamma
        return rows

    def rollout(
        self, rows: NDArray[np.float32], evaluated: dict[str, NDArray[np.float32]]
    ) -> Rollout:
        """The newest rows, as `newest` gave them, with what was said of them."""
        first = self.added - len(rows)
        numbers = np.arange(first, self.added)
        link = self.rows[numbers % self.capacity, -1]
        # The newest transition of an episode under way links to none yet.
        open_ended = (link > 0) | np.isin(numbers, self._open)
        following = np.where(open_ended, -1, np.arange(len(rows)) + 1 - link).astype(np.int64)
        return Rollout(rows[:, self.columns.reward], rows[:, -2], following, evaluated)

    def _sum_rewards(
        self, rows: NDArray[np.float32], first: NDArray[np.int64], gamma: float, n_step: int
    ) -> None:
        r = self.columns.reward
        numbers = np.empty((len(first), n_step), np.int64)
        numbers[:, 0] = first
        for k in range(1, n_step):  # behind an end they are those of anything, and do not count
            before = numbers[:, k - 1]
            numbers[:, k] = before + 1 - self.rows[before % self.capacity, -1]
        at = numbers % self.capacity
        ends = (self.rows[at, -1] > 0) | np.isin(numbers, self._open)
        counts = np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, n_step)
        powers = gamma ** np.arange(n_step + 1)
        counted = np.arange(n_step) < counts[:, None]
        rows[:, r] = np.where(counted, self.rows[at, r] * powers[:-1], 0.0).sum(axis=1)
        last = at[np.arange(len(rows)), counts - 1]
        rows[:, r + 1 : -1] = self.rows[last, r + 1 : -1]
        rows[:, -1] = powers[counts]

    def span(self, first: int, end: int) -> NDArray[np.float32]:
        """Transitions number `first` to `end` (excluded), a copy, [end - first, width]."""
        return self.rows.take(np.arange(first, end), axis=0, mode="wrap")

    def drop(self, count: int) -> None:
        """Forgets the `count` oldest transitions."""
        self._dropped = self.oldest + count

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What a checkpoint must hold besides the rows."""
        return {}

    def restore_arrays(self, arrays: dict[str, Any]) -> None:
        """Takes back what `arrays` gave; others may be among them."""

    def prioritise(self, errors: Float[np.ndarray, "updates batch"]) -> None:
        """Takes the absolute TD errors of the newest sample."""
        raise AssertionError("this replay draws uniformly")

    def restore(self, first: int, rows: NDArray[np.float32]) -> None:
        """Puts transitions back under their numbers, from `first` on, and counts on from there."""
        self.rows[np.arange(first, first + len(rows)) % self.capacity] = rows
        self.added = first + len(rows)
        self._open = [-1] * len(self._open)
        if len(rows) and not rows[-1, -1]:  # of one environment; those of several had been cut
            self._open[0] = self.added - 1
