"""An actor: an environment, the acting network, and exploration, in a process of its own.

It steps when it is asked to, within one episode, with the weights that come along, and answers with
the transitions. It keeps nothing that a successor could not begin without, but for the episode.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from sparl.config import RunConfig
from sparl.distributed.weights import Received, Topology
from sparl.networks import RunningStatistics
from sparl.replay import Columns, Replay
from sparl.training import EpisodePlayer, Transition

STREAM = 2
"""Beside the run's seed and an episode's number, what its exploration is seeded with."""


class Order(NamedTuple):
    """So many steps, or fewer where the episode ends before."""

    step: int
    """Number of environment steps that are ordered already, of all actors."""
    steps: int
    episode: int | None
    """The number of an episode to begin with; None goes on with the one under way."""
    version: int
    """Of the weights that act."""
    rng: dict[str, Any] | None
    """State of the generator to explore with; None for one of the episode's own."""
    statistics: RunningStatistics | None = None
    """Of the observations that the learner has taken so far, where they are to be normalised."""


class Rollout(NamedTuple):
    """What an order gave."""

    rows: NDArray[np.float32]
    """[steps, width], as the replay stores them."""
    version: int
    ended: bool
    """The episode came to its end; its return and length so far are beside it."""
    episode_return: float
    length: int
    rng: dict[str, Any]


class Actor:
    """An environment, and what acts in it."""

    def __init__(self, run: RunConfig, agent: Any, columns: Columns) -> None:
        self._run, self._agent, self._columns = run, agent, columns
        self._received = Received(agent, columns)
        self._statistics: RunningStatistics | None = None
        self._rng = np.random.default_rng()
        self._transitions: Iterator[Transition] = iter(())
        self._episode, self._return, self._length = 0, 0.0, 0
        self._step = 0
        """Number of the environment step that it takes, of all actors' steps."""

    @cached_property
    def _player(self) -> EpisodePlayer:
        # Made when it is first needed: Ray tells less of what a constructor raises.
        return EpisodePlayer(self._run, self._where, lambda: None, lambda: "")

    def collect(
        self, order: Order, values: NDArray[np.float32] | None, topology: Topology | None
    ) -> Rollout:
        """Steps as ordered. `values` and `topology` are None where this actor has them."""
        if topology is not None:
            self._received.rearrange(topology)
        if values is not None:
            self._received.update(values)
        if order.episode is not None:
            self._begin(order.episode)
        if order.rng is not None:
            self._rng.bit_generator.state = order.rng
        self._statistics = order.statistics
        taken, ended = Replay(order.steps, self._columns), False
        while taken.added < order.steps and not ended:
            self._step = order.step + taken.added
            transition = next(self._transitions)
            taken.add(*transition)
            ended = transition.ended
            self._return += transition.reward
            self._length += 1
        state = dict(self._rng.bit_generator.state)
        rows = taken.span(0, taken.added)
        return Rollout(rows, order.version, ended, self._return, self._length, state)

    def _begin(self, episode: int) -> None:
        self._episode, self._return, self._length = episode, 0.0, 0
        self._rng = np.random.default_rng([self._run.seed, STREAM, episode])
        self._player.begun = episode
        self._transitions = self._player.transitions(self._explore, lambda: False)

    def _explore(self, observation: NDArray[np.float32]) -> NDArray[np.float32] | int:
        if self._statistics is not None:
            # The learner will count it, too, when it takes the rollout.
            self._statistics = self._statistics.including(observation)
        if self._step < self._agent.learning_starts and not self._run.begun_from:
            return self._player.spaces.random(self._rng)
        size = self._columns.action_size
        network = self._received.network
        if self._statistics is not None:
            observation = self._statistics.normalization(observation)
        return self._agent.explore(network, observation, size, self._step, self._rng)

    def _where(self) -> str:
        return f"step {self._length} of episode {self._episode}"


class ActorProcess(Actor):
    """An actor that has its process, and one core, for itself: what Ray makes."""

    def __init__(self, run: RunConfig, agent: Any, columns: Columns, path: tuple[str, ...]) -> None:
        """`path`: where modules are looked for besides."""
        sys.path += [entry for entry in path if entry not in sys.path]
        # Nothing that it computes is worth a second thread, or a GPU.
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        jax.config.update("jax_platforms", "cpu")
        super().__init__(run, agent, columns)
