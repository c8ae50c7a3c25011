"""The run folder: all that a run writes, and all that is needed to repeat it.

config.json      all options, versions of the libraries, the machine and its instruction set
metrics.csv      one row per log point
restructures.csv one row per restructuring, for methods that restructure
summary.json     final figures
tb/              TensorBoard
checkpoints/     the newest few, each complete or absent
policy/          the final policy
.lock            held by the process that trains (`storage.exclusive_folder`)
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

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
"""Version of config.json."""
RECORDED = ("sparl", "jax", "jaxlib", "equinox", "optax", "gymnasium", "mujoco", "numpy")
"""Packages whose versions config.json records."""


class RecordedConfig(NamedTuple):
    """What config.json says of a run."""

    run: RunConfig
    agent: Agent
    """The agent's configuration."""
    method: Method
    spaces: Spaces


class RunFolder:
    """The folder of one run, with the files that the module lists."""

    def __init__(self, path: str | Path) -> None:
        """A run folder that may not exist yet."""
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints")

    def refuse_if_taken(self) -> None:
        """Checks that a new run can start in this folder.

        Raises:
            BadRun: The folder is not empty. Choose another one, or resume the run in it.
        """
        if not self.path.exists():
            return
        if (self.path / "config.json").exists():
            raise BadRun(
                f"{self.path} already holds another run. Choose another out folder, or continue "
                f"that run: {self._how_to_resume()}"
            )
        if not self.path.is_dir() or any(p.name != files.LOCK for p in self.path.iterdir()):
            raise BadRun(f"{self.path} is not empty. Choose another out folder")

    def resume_hint(self) -> str:
        """A sentence that says from where a run that ended early can be resumed, and how."""
        steps = self.checkpoints.steps()
        if not steps:
            return "No checkpoint had been saved yet."
        return f"The checkpoint of step {steps[-1]} is safe: {self._how_to_resume()}"

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of an existing run.

        Raises:
            BadRun: The folder holds no run.
        """
        folder = cls(path)
        if not (folder.path / "config.json").is_file():
            raise BadRun(f"{folder.path} is no run folder of sparl: it has no config.json")
        return folder

    def write_config(self, run: RunConfig, agent: Agent, method: Method, spaces: Spaces) -> None:
        """Writes config.json, and creates the folder."""
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

    def read_config(self) -> RecordedConfig:
        """What config.json says of the run.

        Raises:
            BadCheckpoint: The file is missing, of another format, or altered beyond use.
        """
        path = self.path / "config.json"
        content = files.read_json(path)
        try:
            if content["format"] != FORMAT:
                raise BadCheckpoint(
                    f"{path} has format {content['format']}; this sparl reads format {FORMAT}"
                )
            agent, method = dict(content["agent"]), dict(content["method"])
            return RecordedConfig(
                _from_json(RunConfig, content["run"]),
                _from_json(AGENTS.find(agent.pop("name")), agent),
                _from_json(METHODS.find(method.pop("name")), method),
                _from_json(Spaces, content["spaces"]),
            )
        except (KeyError, TypeError) as error:
            raise BadCheckpoint(f"{path} is not as sparl wrote it: {error!r}") from error

    def table(self, name: str, columns: list[str]) -> Table:
        """A CSV table of the run; `columns` are those of a new file."""
        return Table(self.path / name, columns)

    @property
    def policy(self) -> Path:
        """The folder of the final policy."""
        return self.path / "policy"

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes summary.json."""
        files.write_json(self.path / "summary.json", summary)

    def read_summary(self) -> dict[str, Any] | None:
        """The content of summary.json; None if the run has not finished."""
        path = self.path / "summary.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def _how_to_resume(self) -> str:
        """The command that resumes the run, and the call."""
        path = files.quoted(self.path)
        return f"sparl train --resume {path}, or sparl.resume({str(self.path)!r}) in Python"


def _from_json(dataclass: Any, fields: dict[str, Any]) -> Any:
    """An instance of a dataclass from JSON, which has lists where the fields are tuples."""
    return dataclass(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
