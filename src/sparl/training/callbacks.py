"""Hooks for code around a run: called at its start, at steps, episodes, evaluations and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparl.errors import BadValue
from sparl.training.collector import Host
from sparl.training.evaluation import Evaluation


class Callback:
    """Override what you need; every hook does nothing by itself. `step` counts env steps.

    A hook that returns False ends the run: it finishes the episode, saves a checkpoint and leaves
    its policy and its summary, as a run does that has made all its steps. `sparl.resume` goes on
    with it: with one environment, with the same bytes as if it had not ended. An error that a hook
    raises ends the run, too: what was learned is saved first.
    """

    reason: str = ""
    """Why it ends the run, as `ended` in summary.json; its class's name and the hook if empty."""

    def on_start(self, trainer: Host) -> bool | None:
        """Before the first step, also of a run that is resumed.

        Args:
            trainer: Has `config`, `agent`, `folder`, the loop's `state` (its `step`, `returns`,
                `evaluations`), `policy()`, and `note(text)`, which prints. Read it; what is changed
                in it is not what the run folder says.
        """

    def on_step(self, step: int) -> bool | None:
        """After the updates that are due with a step; with actors after those of several steps."""

    def on_episode(self, step: int, episode_return: float, length: int) -> bool | None:
        """After each training episode that came to its end."""

    def on_evaluation(self, step: int, evaluation: Evaluation) -> bool | None:
        """After each evaluation of the policy without exploration."""

    def on_checkpoint(self, step: int, path: Path) -> bool | None:
        """After a checkpoint is complete on the disk, in the folder `path`."""

    def on_restructure(self, step: int, figures: dict[str, Any]) -> bool | None:
        """After the method changed the topology; `figures` are its own: numbers such as SAD, and
        vectors such as DSP's importance."""

    def on_log(self, step: int, figures: dict[str, Any]) -> bool | None:
        """After each row of metrics.csv; `figures` are its columns, None where a cell is empty."""

    def on_end(self) -> None:
        """When the run is over, also by an error or an interruption."""


class Callbacks:
    """The callbacks of a run, called one after the other."""

    def __init__(self, callbacks: Sequence[Callback], stop: Callable[[str], None]) -> None:
        """
        Args:
            stop: Is told why the run is to end.
        """
        for callback in callbacks:
            if isinstance(callback, type):
                name = callback.__name__
                raise BadValue(f"callbacks has the class {name}: give one that is made, {name}()")
        self._all, self._stop = tuple(callbacks), stop
        self.failed: str = ""
        """The hook that raised an error: its class and its name."""
        # Of a hook that is called at every step only those that do something.
        base = Callback.on_step
        self._at_steps = [c for c in self._all if getattr(type(c), "on_step", base) is not base]

    def tell(self, hook: str, *arguments: Any) -> None:
        """Calls a hook of every callback."""
        for callback in self._at_steps if hook == "on_step" else self._all:
            try:
                answer = getattr(callback, hook)(*arguments)
            except Exception:
                self.failed = _name(callback, hook)
                raise
            if isinstance(answer, bool | np.bool_) and not answer:
                self._stop(callback.reason or f"{_name(callback, hook)} gave False")


def _name(callback: Callback, hook: str) -> str:
    return f"{type(callback).__name__}.{hook}"
