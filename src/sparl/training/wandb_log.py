"""A callback that sends a run's figures to Weights & Biases, which is an extra."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from sparl.errors import BadValue
from sparl.training.callbacks import Callback
from sparl.training.collector import Host


class LogToWandb(Callback):
    """Logs every row of metrics.csv to Weights & Biases, by the names of its columns.

    Without a network set the variable WANDB_MODE to offline; `wandb sync` sends it later. A run
    that is resumed goes on in the same run there.
    """

    def __init__(self, project: str, **options: Any) -> None:
        """
        Args:
            project: Of Weights & Biases.
            options: Of `wandb.init`: `entity`, `mode`, `group` and others.

        Raises:
            BadValue: wandb is not installed.
        """
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise BadValue(
                f'wandb is {project!r}, and wandb is not installed: pip install "sparl[wandb]"'
            ) from error
        self._wandb, self._options = wandb, {"project": project} | options
        self._run: Any = None

    def on_start(self, trainer: Host) -> None:
        """Begins, or goes on with, a run of the folder's name."""
        run, agent, method = trainer.config, trainer.agent, trainer.engine.method
        config = {
            "run": dataclasses.asdict(run),
            "agent": {"name": agent.name} | dataclasses.asdict(agent),
            "method": {"name": method.name} | dataclasses.asdict(method),
        }
        path = trainer.folder.path.absolute()
        name = "-".join([run.env, method.name, str(run.seed)])
        usual = {"name": name, "dir": str(path), "id": _identity(path), "resume": "allow"}
        self._run = self._wandb.init(**usual | {"config": config} | self._options)

    def on_log(self, step: int, figures: dict[str, Any]) -> None:
        """Sends a row."""
        known = {name: value for name, value in figures.items() if value is not None}
        self._run.log(known, step=step)

    def on_end(self) -> None:
        """Ends the run there."""
        if self._run is not None:
            self._run.finish()
            self._run = None


def _identity(path: Path) -> str:
    """The same for the same folder; of 16 hex digits."""
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]
