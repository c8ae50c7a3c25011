"""The run folder: everything a run leaves, and everything needed to repeat it.

config.json      all options, versions of the libraries, the machine and its instruction set
metrics.csv      one row per log point
restructures.csv one row per restructuring, for methods that have them
summary.json     final figures
tb/              TensorBoard
checkpoints/     the newest few, each complete or absent
policy/          the final policy
.lock            that of the process which trains (`storage.claimed`)
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

from sparl import agents, kernels, methods
from sparl.agents import AGENTS, Agent
from sparl.config.run import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadCheckpoint, BadRun
from sparl.methods import METHODS, Method
from sparl.storage import files
from sparl.storage.checkpoint import Checkpoints
from sparl.storage.table import Table

FORMAT = 1
RECORDED = ("sparl", "jax", "jaxlib", "equinox", "optax", "gymnasium", "mujoco", "numpy")


class RunFolder:
    """A folder with the files above."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints")

    def refuse_if_taken(self) -> None:
        """Raises `BadRun` where the path already holds anything."""
        if not self.path.exists():
            return
        if (self.path / "config.json").exists():
            raise BadRun(
                f"{self.path} already holds another run. Choose another --out, or go on with "
                f"that run: sparl train --resume {self.path}"
            )
        if not self.path.is_dir() or any(self.path.iterdir()):
            raise BadRun(f"{self.path} is not empty. Choose another --out")

    def resumable(self) -> str:
        """A sentence on what a run that ended early can be resumed from."""
        steps = self.checkpoints.steps()
        if not steps:
            return "No checkpoint had been saved yet."
        return f"The checkpoint of step {steps[-1]} is safe: sparl train --resume {self.path}"

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run's folder; `BadRun` where there is none."""
        folder = cls(path)
        if not (folder.path / "config.json").is_file():
            raise BadRun(f"{folder.path} is no run folder of sparl: it has no config.json")
        return folder

    def write_config(self, run: RunConfig, agent: Agent, method: Method, spaces: Spaces) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_json(
            self.path / "config.json",
            {
                "format": FORMAT,
                "run": dataclasses.asdict(run),
                "agent": {"name": agents.name_of(agent)} | dataclasses.asdict(agent),
                "method": {"name": methods.name_of(method)} | dataclasses.asdict(method),
                "spaces": dataclasses.asdict(spaces),
                "versions": {name: importlib.metadata.version(name) for name in RECORDED}
                | {"python": platform.python_version()},
                "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
                "instruction_set": kernels.instruction_set(),
            },
        )

    def read_config(self) -> tuple[RunConfig, Agent, Method, Spaces]:
        """Run, agent, method and spaces as written; `BadCheckpoint` if altered beyond use."""
        path = self.path / "config.json"
        content = files.read_json(path)
        try:
            if content["format"] != FORMAT:
                raise BadCheckpoint(
                    f"{path} has format {content['format']}; this sparl reads format {FORMAT}"
                )
            agent, method = dict(content["agent"]), dict(content["method"])
            return (
                _made(RunConfig, content["run"]),
                _made(AGENTS.find(agent.pop("name")), agent),
                _made(METHODS.find(method.pop("name")), method),
                _made(Spaces, content["spaces"]),
            )
        except (KeyError, TypeError) as error:
            raise BadCheckpoint(f"{path} is not as sparl wrote it: {error!r}") from error

    def table(self, name: str, columns: list[str]) -> Table:
        return Table(self.path / name, columns)

    @property
    def policy(self) -> Path:
        return self.path / "policy"

    def write_summary(self, summary: dict[str, Any]) -> None:
        files.write_json(self.path / "summary.json", summary)

    def read_summary(self) -> dict[str, Any] | None:
        path = self.path / "summary.json"
        return json.loads(path.read_text()) if path.exists() else None


def _made(kind: Any, fields: dict[str, Any]) -> Any:
    """A dataclass from JSON, which has lists where ours have tuples."""
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
