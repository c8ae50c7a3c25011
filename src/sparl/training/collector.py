"""Where a run's transitions come from: the seam between the loop and what steps environments."""

from __future__ import annotations

import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.envs import Spaces
from sparl.errors import Diverged
from sparl.policy import Policy
from sparl.replay import Columns, Replay
from sparl.storage import RunFolder
from sparl.training import memory
from sparl.training.player import EpisodePlayer, LeftOut
from sparl.training.state import LoopState
from sparl.training.vector_player import VectorPlayer

MOST_SKIPPED = 100
"""Episodes in a row that may give nothing finite."""


class Episode(NamedTuple):
    """A training episode that came to its end."""

    episode_return: float
    length: int


class Collected(NamedTuple):
    """What came in: its transitions are in the replay already."""

    steps: int
    """Environment steps, perhaps none."""
    ended: tuple[Episode, ...] = ()
    whole: bool = True
    """Whether it is the last transition of its step; several environments give one each."""


class Host(ABC):
    """What collectors and callbacks may ask of the trainer of their run."""

    folder: RunFolder
    config: RunConfig
    agent: Agent
    engine: Engine
    state: LoopState
    replay: Replay
    rng: np.random.Generator

    @abstractmethod
    def explore(self, observation: NDArray[np.float32]) -> NDArray[Any]:
        """Actions to learn from, [batch, act] or choices [batch], for observations [batch, obs]."""

    @abstractmethod
    def another_episode(self) -> bool:
        """Whether another episode is to begin before a checkpoint is saved."""

    @abstractmethod
    def updates_due(self) -> int:
        """Updates that the transitions so far allow and that are not made yet."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Tells the user a sentence."""

    @abstractmethod
    def policy(self) -> Policy:
        """The policy as it is now; while hooks are told of an evaluation, that which it is of."""

    @abstractmethod
    def where(self) -> str:
        """The step and the episode that the run is at."""

    @abstractmethod
    def rescue(self) -> None:
        """Saves what was learned so far, before an error ends the run."""

    @abstractmethod
    def way_out(self) -> str:
        """A sentence on what the run can be resumed from."""


@runtime_checkable
class Schedule(Protocol):
    """When updates are made: an agent's `UpdateSchedule`, or what a collector has in its place."""

    def planned(self, step: int) -> int:
        """Updates that are made in all by environment step `step`."""
        ...

    def due(self, step: int, episodes: int, ended: bool, made: int) -> int:
        """Updates to make now."""
        ...

    def step_of(self, update: int) -> int:
        """The first environment step by which update number `update`, from 1, may be made."""
        ...


@runtime_checkable
class Collector(Protocol):
    """Steps environments, and puts what they give into the run's replay."""

    spaces: Spaces
    action_space: Any
    columns: tuple[str, ...]
    """Columns of metrics.csv that only runs with this collector have; `figures` fills them."""
    most_updates: int | None
    """Batches that are sampled at once, before more is collected; None for all that are due."""
    env: Any
    """An environment of this process, with the spaces of all."""
    longest: int | None
    """Steps after which the episodes under way have ended at the latest; None without a limit."""

    def make_replay(self, columns: Columns) -> Replay:
        """The replay that the transitions go to."""
        ...

    def schedule(self, agent: Agent) -> Schedule:
        """When updates are made."""
        ...

    def start(self) -> None:
        """Takes up the trainer's engine and replay, which are there now."""
        ...

    def collect(self) -> Iterator[Collected | None]:
        """Collects until it is a good moment for a checkpoint, an episode's end say.

        Gives None while it waits for environments: whoever has other work may do it first.
        """
        ...

    @property
    def under_way(self) -> int:
        """Episodes that have begun and not ended."""
        ...

    def cut(self) -> None:
        """Gives up the episodes under way: their last transitions lead to no others."""
        ...

    def guarded(self, doing: str) -> AbstractContextManager[None]:
        """Rescues the run from what an environment raises."""
        ...

    def notes(self) -> list[str]:
        """What a user should know before the run starts, a sentence each."""
        ...

    def figures(self) -> dict[str, Any]:
        """The values of `columns` since the last call."""
        ...

    def totals(self) -> dict[str, Any]:
        """Entries of summary.json that only runs with this collector have."""
        ...

    def close(self) -> None:
        """Ends what it has started."""
        ...


class LocalCollector:
    """One environment, or several that are stepped together, in the process of the trainer."""

    columns: tuple[str, ...] = ()
    most_updates: int | None = None

    def __init__(self, run: RunConfig, host: Host) -> None:
        self._notes: list[str] = []
        error = _why_no_processes() if run.vectorization == "async" else None
        if error is not None:
            run = replace(run, vectorization="sync")
            self._notes.append(
                f"environments cannot have processes of their own here ({error}; usually /dev/shm "
                "is full or read-only). They are stepped one after the other, as with "
                "vectorization sync: the same transitions, more slowly"
            )
        several = run.envs > 1 or run.vectorization != "sync"
        kind = VectorPlayer if several else EpisodePlayer
        self._host, self._streams = host, run.envs
        self._player = kind(run, run.maker(), host.where, host.rescue, host.way_out)
        self._run = run
        self.spaces = self._player.spaces
        self.action_space = self._player.env.action_space
        self.env, self.guarded = self._player.env, self._player.guarded
        longest = self._player.longest
        self.longest = longest and longest * run.envs

    def make_replay(self, columns: Columns) -> Replay:
        note = memory.replay_note(self._run, columns)
        self._notes += [] if note is None else [note]
        try:
            return Replay(self._run.buffer_size, columns, self._streams)
        except (MemoryError, ValueError, OverflowError) as error:
            raise memory.too_large(self._run.buffer_size, columns) from error

    def schedule(self, agent: Agent) -> Schedule:
        return agent.schedule

    def start(self) -> None:
        pass

    def collect(self) -> Iterator[Collected | None]:
        """A step at a time, until no other episode is to begin and those under way have ended."""
        host, replay = self._host, self._host.replay
        returns, lengths = [0.0] * self._streams, [0] * self._streams
        skipped = 0  # in a row
        self._player.begun = host.state.episode
        for transition in self._player.transitions(host.explore, host.another_episode):
            if transition is None:
                yield None
                continue
            stream = transition.stream
            if isinstance(transition, LeftOut):
                skipped += 1
                self._tell_left_out(transition.what, skipped)
                replay.cut(stream)
                host.engine.cut_returns(stream)
                ended = Episode(returns[stream], lengths[stream])
                returns[stream], lengths[stream] = 0.0, 0
                yield Collected(transition.steps, (ended,), self._player.whole)
                continue
            skipped = 0
            replay.add(*transition)
            # In float32, as the replay has it and an actor sends it.
            host.engine.reward(np.float32(transition.reward), transition.ended, stream)
            returns[stream] += transition.reward
            lengths[stream] += 1
            if not transition.ended:
                yield Collected(1, (), self._player.whole)
                continue
            ended = Episode(returns[stream], lengths[stream])
            returns[stream], lengths[stream] = 0.0, 0
            yield Collected(1, (ended,), self._player.whole)

    def _tell_left_out(self, what: str, skipped: int) -> None:
        host = self._host
        host.note(f"{host.where()}: {what} was not finite; the step is left out, the episode over")
        if skipped > MOST_SKIPPED:
            raise Diverged(
                f"{MOST_SKIPPED} episodes in a row gave nothing finite ({host.where()}). "
                f"{host.way_out()}"
            )

    @property
    def under_way(self) -> int:
        return max(0, self._player.begun - self._host.state.episode)

    def cut(self) -> None:
        self._host.replay.cut()
        self._host.engine.cut_returns()
        self._host.state.episode += self.under_way

    def notes(self) -> list[str]:
        return self._notes

    def figures(self) -> dict[str, Any]:
        return {}

    def totals(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self._player.close()


def _why_no_processes() -> OSError | None:
    """What is raised where semaphores, which processes talk by, cannot be made; None elsewhere."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except OSError as error:
        return error
    return None


def close_all(note: Callable[[str], None], *closable: Any) -> None:
    """Closes what was started; what fails at that must not hide how the run ended."""
    for what in closable:
        try:
            what.close()
        except Exception as error:
            note(f"an environment could not be closed: {type(error).__name__}: {error}")
