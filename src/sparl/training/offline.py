"""Learning from logs alone: a collector that never steps its environment.

The replay holds logged transitions, and nothing comes in. A step of the run is an update.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparl.agents import Agent, UpdateSchedule
from sparl.config import RunConfig
from sparl.replay import Columns, Replay
from sparl.training.collector import Collected, Host
from sparl.training.player import EpisodePlayer


class OfflineCollector:
    """A `Collector` that collects nothing; its environment tells the spaces."""

    columns: tuple[str, ...] = ()
    most_updates: int | None = None
    longest: int | None = 1
    under_way = 0

    def __init__(self, run: RunConfig, host: Host) -> None:
        self._run, self._host = run, host
        self._player = EpisodePlayer(run, run.maker(), host.where, host.rescue, host.way_out)
        self.env, self.spaces = self._player.env, self._player.spaces
        self.action_space, self.guarded = self.env.action_space, self._player.guarded

    def make_replay(self, columns: Columns) -> Replay:
        return Replay(self._run.buffer_size, columns)

    def schedule(self, agent: Agent) -> UpdateSchedule:
        """One update a step, whatever the agent does beside an environment."""
        return UpdateSchedule(starts=0)

    def start(self) -> None:
        pass

    def collect(self) -> Iterator[Collected]:
        """Counts a step for each update, until a checkpoint is due or the run is to stop."""
        yield Collected(1)
        while self._host.another_episode():
            yield Collected(1)

    def cut(self) -> None:
        pass

    def notes(self) -> list[str]:
        """What learning from logs alone can do, and what it cannot."""
        run = self._run
        played = f"for {run.eval_episodes} episodes of each evaluation"
        notes = [
            f"offline: a step is an update from the logs; {run.env} gives the spaces, and is "
            f"stepped {played if run.eval_episodes else 'never, so only losses are logged'}",
            "it can become better than what the logs show, by putting their best parts together; "
            "it cannot learn what they do not show, nor try what it has learned",
        ]
        if not getattr(self._host.agent, "behaviour_cloning", 0.0):
            notes.append(
                "critics that are never corrected overrate actions that the logs do not have: td3 "
                "with behaviour_cloning 2.5 stays close to those that they have"
            )
        return notes

    def figures(self) -> dict[str, Any]:
        return {}

    def totals(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self._player.close()
