"""Hooks for code around a run: called at episodes, evaluations, checkpoints, restructurings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparl.training.evaluation import Evaluation


class Callback:
    """Override what you need; every method does nothing by itself. `step` counts env steps."""

    def on_episode(self, step: int, episode_return: float, length: int) -> None:
        """After each training episode that came to its end."""

    def on_evaluation(self, step: int, evaluation: Evaluation) -> None:
        """After each evaluation of the policy without exploration."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """After a checkpoint is complete on the disk, in the folder `path`."""

    def on_restructure(self, step: int, figures: dict[str, Any]) -> None:
        """After the method changed the topology; `figures` are its own: numbers such as SAD, and
        vectors such as DSP's importance."""
