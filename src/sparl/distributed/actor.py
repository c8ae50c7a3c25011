"""An actor: an environment, the acting networks and exploration, in a process of its own.

For each order it takes some steps of one episode, with the weights that it was sent last, and gives
back the transitions. Besides the episode under way it keeps nothing that matters: if it dies, a new
actor can replace it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import cloudpickle
import jax
import numpy as np
from numpy.typing import NDArray

from sparl.config import RunConfig
from sparl.distributed.weights import Received, Topology
from sparl.envs import EnvMaker
from sparl.networks import RunningStatistics
from sparl.replay import Columns, Replay
from sparl.training import EpisodePlayer, Played, Transition

STREAM = 2
"""The part of an exploration seed that is not the run's seed or the episode's number."""


class Order(NamedTuple):
    """What an actor is to do next."""

    step: int
    """Number of environment steps that all actors were ordered to take before."""
    steps: int
    """Steps to take; fewer if the episode ends before."""
    episode: int | None
    """The number of an episode to begin; None continues the one under way."""
    version: int
    """The version of the weights to act with."""
    rng: dict[str, Any] | None
    """State of the generator for exploration; None for a generator of the episode's own."""
    statistics: RunningStatistics | None = None
    """Statistics of the observations so far, if observations are to be normalised."""


class OrderResult(NamedTuple):
    """What an actor gives back for an order."""

    rows: NDArray[np.float32]
    """The transitions, [steps, width], as the replay stores them."""
    version: int
    """The version of the weights that acted."""
    ended: bool
    """Whether the episode has ended."""
    episode_return: float
    """Return of the episode so far."""
    length: int
    """Length of the episode so far."""
    rng: dict[str, Any]
    """State of the generator for exploration, after these steps."""


class Actor:
    """An environment with the networks that act in it."""

    def __init__(self, run: RunConfig, make: EnvMaker, agent: Any, columns: Columns) -> None:
        """
        Args:
            make: Makes the run's environment.
            agent: The agent's hyperparameters.
        """
        self._run, self._make, self._agent, self._columns = run, make, agent, columns
        self._received = Received(agent, columns)
        self._statistics: RunningStatistics | None = None
        self._rng = np.random.default_rng()
        self._transitions: Iterator[Played] = iter(())
        self._episode, self._return, self._length = 0, 0.0, 0
        self._step = 0
        """The number of the step that it takes, among the steps of all actors."""

    @cached_property
    def _player(self) -> EpisodePlayer:
        # Made when it is first needed, because Ray reports less of what a constructor raises.
        return EpisodePlayer(self._run, self._make, self._where, lambda: None, lambda: "")

    def collect(
        self, order: Order, values: NDArray[np.float32] | None, topology: Topology | None
    ) -> OrderResult:
        """Takes the steps of an order.

        Args:
            values: The values of the weights; None if this actor has this version already.
            topology: How the weights are stored; None if it has not changed.
        """
        if topology is not None:
            self._received.set_topology(topology)
        if values is not None:
            self._received.set_values(values)
        if order.episode is not None:
            self._begin(order.episode)
        if order.rng is not None:
            self._rng.bit_generator.state = order.rng
        self._statistics = order.statistics
        replay, ended = Replay(order.steps, self._columns), False
        while replay.added < order.steps and not ended:
            self._step = order.step + replay.added
            transition = next(self._transitions)
            assert isinstance(transition, Transition)  # others come of `nonfinite` skip alone
            replay.add(*transition)
            ended = transition.ended
            self._return += transition.reward
            self._length += 1
        rng = dict(self._rng.bit_generator.state)
        rows = replay.span(0, replay.added)
        return OrderResult(rows, order.version, ended, self._return, self._length, rng)

    def _begin(self, episode: int) -> None:
        self._episode, self._return, self._length = episode, 0.0, 0
        self._rng = np.random.default_rng([self._run.seed, STREAM, episode])
        self._player.begun = episode
        self._transitions = self._player.transitions(self._explore, lambda: False)

    def _explore(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        early = self._step < self._agent.learning_starts
        known = early and self._run.begun_from
        if self._statistics is not None and not known:
            # The learner counts this observation itself when it stores the transitions.
            self._statistics = self._statistics.including(observation)
        if early and not known:
            draw = self._player.spaces.random
            return self._agent.first_actions(observation, lambda: draw(self._rng))
        size = self._columns.action_size
        network = self._received.network
        if self._statistics is not None:
            clip = self._run.clip_observations
            observation = self._statistics.normalization._replace(clip=clip)(observation)
        return self._agent.explore(network, observation, size, self._step, self._rng)

    def _where(self) -> str:
        return f"step {self._length} of episode {self._episode}"


class ActorProcess(Actor):
    """An actor with a process and one core of its own, which Ray starts."""

    def __init__(
        self,
        run: RunConfig,
        make: bytes,
        agent: bytes,
        columns: Columns,
        path: tuple[str, ...],
    ) -> None:
        """
        Args:
            make: What makes the environment, pickled: to read it may need a module that is found on
                the learner's path alone.
            agent: The agent's hyperparameters, pickled, for the same reason.
            path: Entries of the learner's `sys.path`, which this process adds to its own.
        """
        sys.path += [entry for entry in path if entry not in sys.path]
        # Its computations are too small for a second thread or a GPU.
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        jax.config.update("jax_platforms", "cpu")
        super().__init__(run, cloudpickle.loads(make), cloudpickle.loads(agent), columns)
