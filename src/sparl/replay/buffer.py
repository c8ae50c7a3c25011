"""Uniform replay in one flat, preallocated array.

A transition is one row of float32: observation, action, reward, next observation, terminated,
ended. A batch is one gather and enters the compiled update as one array, which is split into
columns there.

Several environments may have an episode under way at once. Their transitions are stored mixed, in
the order in which they came. Each transition says how far behind it the next one of its episode is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sparl.networks import EVERYTHING, Views
from sparl.replay.batch import Batch
from sparl.replay.rollout import Rollout


@dataclass(frozen=True)
class Columns:
    """The columns of the fields of a transition in its row.

    The last column of a stored row is `ended`. It is 1 where the episode does not go on because it
    was terminated, truncated or cut. Otherwise it is minus the number of rows of other episodes
    before the next row of this one. In sampled rows the last column is the discount of the value
    that follows.
    """

    observation_size: int
    action_size: int
    """Entries of a continuous action, or the number of discrete ones."""
    discrete: bool = False
    """Whether actions are discrete; then a row stores the number of the action."""
    extras: tuple[str, ...] = ()
    """Names of further columns in the rows of an agent's rollouts; stored rows lack them."""
    views: Views = EVERYTHING
    """What of an observation networks see; stored rows have all of it."""

    @property
    def stored_action(self) -> int:
        """The number of columns of the action."""
        return 1 if self.discrete else self.action_size

    @property
    def width(self) -> int:
        """The number of columns of a stored row."""
        return 2 * self.observation_size + self.stored_action + 3

    @property
    def reward(self) -> int:
        """The column of the reward; the next observation begins in the column after it."""
        return self.observation_size + self.stored_action

    def split(self, rows: Float[jax.Array, "batch width"]) -> Batch:
        """Splits sampled rows into a batch; extras or importance weights may follow the fields."""
        o, r, w = self.observation_size, self.reward, self.width
        further = dict(zip(self.extras or ("weight",), rows[:, w:].T, strict=False))
        return Batch(
            observation=rows[:, :o],
            action=rows[:, o:r],
            reward=rows[:, r],
            next_observation=rows[:, r + 1 : w - 2],
            terminated=rows[:, w - 2],
            discount=rows[:, w - 1],
            weight=further.pop("weight", None),
            extras=further or None,
        )


class Replay:
    """A ring of the newest transitions, at most `capacity` of them.

    Transitions are numbered from 0. Number t is stored in row t mod capacity. The ring holds the
    numbers from `oldest` to `added` (excluded).
    """

    prioritised: bool = False
    """Whether rows are drawn by priorities. Then sampled rows have importance weights."""

    def __init__(self, capacity: int, columns: Columns, streams: int = 1) -> None:
        """
        Args:
            streams: Number of environments that transitions come from.
        """
        # Untouched pages of a large zeroed array cost no memory until they are written.
        self.rows: NDArray[np.float32] = np.zeros((capacity, columns.width), np.float32)
        self.columns = columns
        self.added = 0
        """Number of all transitions ever added."""
        self._dropped = 0
        self._open = [-1] * streams
        """By stream: the number of the newest transition if its episode goes on, else -1."""

    @property
    def capacity(self) -> int:
        """The largest number of transitions."""
        return len(self.rows)

    @property
    def oldest(self) -> int:
        """The number of the oldest transition that is still stored."""
        return max(self._dropped, self.added - self.capacity)

    @property
    def size(self) -> int:
        """How many transitions are stored."""
        return self.added - self.oldest

    def add(
        self,
        observation: NDArray[np.float32],
        action: NDArray[np.float32] | int | np.integer,
        reward: float,
        next_observation: NDArray[np.float32],
        terminated: bool,
        ended: bool,
        stream: int = 0,
    ) -> None:
        """Appends one transition.

        Args:
            observation: [obs].
            action: The action of the agent: [act] in [-1, 1], or the number of a discrete one.
            next_observation: [obs].
            terminated: Whether the environment itself ended the episode.
            ended: Whether the episode does not go on, for whatever reason.
            stream: The environment. The transitions of one environment must come in their order.
        """
        previous = self._open[stream]
        if previous >= self.oldest:
            self.rows[previous % self.capacity, -1] = previous + 1 - self.added
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

    def cut(self, stream: int | None = None) -> None:
        """Marks the newest transitions of unfinished episodes as their last ones.

        Args:
            stream: The environment whose episode is over; all if None.
        """
        for i in range(len(self._open)) if stream is None else (stream,):
            number, self._open[i] = self._open[i], -1
            if number >= self.oldest:
                self.rows[number % self.capacity, -1] = 1.0

    def sample(
        self, batch_size: int, rng: np.random.Generator, gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        """Draws rows uniformly, with replacement: [batch_size, width]. See `rows_at`."""
        return self.rows_at(self.oldest + rng.integers(0, self.size, batch_size), gamma, n_step)

    def rows_at(
        self, first: NDArray[np.int64], gamma: float, n_step: int = 1
    ) -> NDArray[np.float32]:
        """N-step rows that start at given transitions.

        A row spans m transitions of one episode. m is `n_step`, or less if the episode ends before
        or its newest transition is reached. The reward is the sum of the m rewards, discounted by
        `gamma`. The next observation and `terminated` are those of the last transition. The
        discount is gamma to the power of m. No off-policy correction is made.

        Args:
            first: Numbers of transitions, [batch].
            gamma: Discount of future rewards.
            n_step: Largest number of transitions in a row.

        Returns:
            [batch, width]. It is always a new array, because the compiled update may still be
            reading the last one.
        """
        rows = self.rows.take(first % self.capacity, axis=0)
        if n_step == 1:
            rows[:, -1] = gamma
        else:
            self._sum_rewards(rows, first, gamma, n_step)
        return rows

    def newest(self, batch_size: int, gamma: float) -> NDArray[np.float32]:
        """The newest 1-step rows, oldest first: [batch_size, width]."""
        rows = self.span(self.added - batch_size, self.added)
        rows[:, -1] = gamma
        return rows

    def rollout(
        self, rows: NDArray[np.float32], evaluated: dict[str, NDArray[np.float32]]
    ) -> Rollout:
        """The rollout of the newest rows.

        Args:
            rows: The rows that `newest` gave, [n, width].
            evaluated: What the agent computed for each row, by name: [n] each.
        """
        first = self.added - len(rows)
        numbers = np.arange(first, self.added)
        link = self.rows[numbers % self.capacity, -1]
        # The newest transition of an unfinished episode has no next one yet.
        is_last = (link > 0) | np.isin(numbers, self._open)
        following = np.where(is_last, -1, np.arange(len(rows)) + 1 - link).astype(np.int64)
        return Rollout(rows[:, self.columns.reward], rows[:, -2], following, evaluated)

    def _sum_rewards(
        self, rows: NDArray[np.float32], first: NDArray[np.int64], gamma: float, n_step: int
    ) -> None:
        r = self.columns.reward
        numbers = np.empty((len(first), n_step), np.int64)
        numbers[:, 0] = first
        for k in range(1, n_step):  # after the end of an episode these are not used
            previous = numbers[:, k - 1]
            numbers[:, k] = previous + 1 - self.rows[previous % self.capacity, -1]
        places = numbers % self.capacity
        ends = (self.rows[places, -1] > 0) | np.isin(numbers, self._open)
        counts = np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, n_step)
        powers = gamma ** np.arange(n_step + 1)
        counted = np.arange(n_step) < counts[:, None]
        rows[:, r] = np.where(counted, self.rows[places, r] * powers[:-1], 0.0).sum(axis=1)
        last = places[np.arange(len(rows)), counts - 1]
        rows[:, r + 1 : -1] = self.rows[last, r + 1 : -1]
        rows[:, -1] = powers[counts]

    def span(self, first: int, end: int) -> NDArray[np.float32]:
        """A copy of the transitions from number `first` to `end` (excluded): [n, width]."""
        return self.rows.take(np.arange(first, end), axis=0, mode="wrap")

    def drop(self, count: int) -> None:
        """Forgets the `count` oldest transitions."""
        self._dropped = self.oldest + count

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The arrays that a checkpoint must hold besides the rows, by name."""
        return {}

    def restore_arrays(self, arrays: dict[str, Any]) -> None:
        """Restores what `arrays` gave. Other arrays may be among them."""

    def prioritise(self, errors: Float[np.ndarray, "updates batch"]) -> None:
        """Sets the priorities of the newest sample by its absolute TD errors."""
        raise AssertionError("this replay draws uniformly")

    def restore(self, first: int, rows: NDArray[np.float32]) -> None:
        """Puts transitions back under their numbers, and continues to count after them.

        Args:
            first: The number of the first transition.
            rows: Transitions, [n, width].
        """
        self.rows[np.arange(first, first + len(rows)) % self.capacity] = rows
        self.added = first + len(rows)
        self._open = [-1] * len(self._open)
        # Rows of several environments are always cut before they are saved.
        if len(rows) and not rows[-1, -1]:
            self._open[0] = self.added - 1
