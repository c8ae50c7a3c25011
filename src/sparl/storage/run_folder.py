"""The run folder: all that a run writes, and all that is needed to repeat it.

config.json      all options, versions of the libraries, the machine and its instruction set
metrics.csv      one row per log point
restructures.csv one row per restructuring, for methods that restructure
summary.json     final figures
tb/              TensorBoard
checkpoints/     the newest few, each complete or absent
policy/          the final policy
policy-best/     the policy of the best evaluation
.lock            held by the process that trains (`storage.exclusive_folder`)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sparl import agents, methods
from sparl.agents import AGENTS, Agent
from sparl.config import NotImported, RunConfig
from sparl.envs import Spaces
from sparl.errors import BadFile, BadRun
from sparl.methods import METHODS, Method
from sparl.storage import files, provenance, schema, trust
from sparl.storage.checkpoint import BEST, Checkpoints
from sparl.storage.summary import SummaryFile
from sparl.storage.table import Table
from sparl.validation import Options, shown

FORMAT = 1
"""Version of config.json."""


class RecordedConfig(NamedTuple):
    """What config.json says of a run."""

    run: RunConfig
    agent: Agent
    """The agent's configuration."""
    method: Method
    spaces: Spaces


class Recorded(NamedTuple):
    """The same, as far as it can be told without importing what the folder names."""

    run: RunConfig
    agent: Agent | NotImported
    method: Method | NotImported
    spaces: Spaces


class Change(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What was changed about a run when it went on."""

    step: int
    """Of the checkpoint that it went on from."""
    changed: dict[str, tuple[Any, Any]] = {}
    """Options by name: what they were, and what they are since."""
    ended: str = ""
    """Why the run had ended at this checkpoint; empty if it had not, or had made all its steps."""
    versions: dict[str, tuple[str, str]] | msgspec.UnsetType = msgspec.UNSET
    """Of packages, and the instruction set: what they were, and what they are since. Left out where
    they are the same."""


class ConfigFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """config.json. `run`, `agent` and `method` have the fields of classes, which check them."""

    format: int
    run: dict[str, Any]
    agent: dict[str, Any]
    method: dict[str, Any]
    spaces: Spaces
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    instruction_set: str | None = None
    labels: dict[str, str] = {}
    """How logs call an agent and a method that are not registered."""
    changes: tuple[Change, ...] = ()
    """In the order in which they were made."""
    mark: str | None = None
    """Of the user who wrote it, where it names code: see `trust`."""


class RunFolder:
    """The folder of one run, with the files that the module lists."""

    def __init__(self, path: str | Path, told: Path | None = None) -> None:
        """A run folder that may not exist yet; `told` is its path in messages, if another one."""
        self.path = Path(path)
        self.told = self.path if told is None else told
        self.checkpoints = Checkpoints(self.path / "checkpoints")

    def refuse_if_taken(self) -> None:
        """Checks that a new run can start in this folder.

        Raises:
            BadRun: The folder is not empty. Choose another one, or resume the run in it.
        """
        if not self.path.exists():
            return
        if (self.path / "config.json").exists():
            lost = "" if self.checkpoints.steps() else ", which has no checkpoint yet"
            raise BadRun(
                f"{self.path} already holds another run{lost}. Choose another out folder, or "
                f"continue that run: {self._how_to_resume()}"
            )
        if not self.path.is_dir() or any(map(_counts, self.path.iterdir())):
            raise BadRun(f"{self.path} is not empty. Choose another out folder")

    def resume_hint(self) -> str:
        """A sentence that says from where a run that ended early can be resumed, and how."""
        steps = self.checkpoints.steps()
        if not steps:
            return "No checkpoint had been saved yet."
        return f"The checkpoint of step {steps[-1]} is safe: {self._how_to_resume()}"

    @classmethod
    def open(cls, path: str | Path, trust_it: bool = False) -> RunFolder:
        """The folder of an existing run.

        Args:
            path: The folder.
            trust_it: Let what it names be imported, though somebody else wrote it.

        Raises:
            BadRun: The folder holds no run.
        """
        folder = cls(path)
        if not (folder.path / "config.json").is_file():
            raise BadRun(f"{folder.path} is no run folder of sparl: it has no config.json")
        trust.accept(folder.path, trust_it)
        return folder

    def write_config(
        self,
        run: RunConfig,
        agent: Agent,
        method: Method,
        spaces: Spaces,
        changes: Sequence[Change] = (),
    ) -> None:
        """Writes config.json, and creates the folder; `changes` is what `changes` gives.

        With what versions a run began stays there when it goes on.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": FORMAT,
            "run": dataclasses.asdict(run),
            "agent": {"name": agents.name_of(agent)} | dataclasses.asdict(agent),
            "method": {"name": methods.name_of(method)} | dataclasses.asdict(method),
            "spaces": dataclasses.asdict(spaces),
            **self._begun(),
        } | ({"changes": msgspec.to_builtins(changes)} if changes else {})
        named = trust.code(content)
        if named:
            content["labels"] = {"agent": agent.name, "method": method.name}
            content["mark"] = trust.mark(named)
            trust.accept(self.path, True)  # whoever wrote it may read it, key or not
        files.write_sealed(self.path / "config.json", content)

    def read_config(self, *, env: bool = True) -> RecordedConfig:
        """What config.json says of the run; imports the agent and the method that it names.

        Args:
            env: Whether the run's environment will be made, too.

        Raises:
            BadFile: The file is missing, of another format, or not as sparl writes it.
            BadValue: An agent or a method that there is not.
            Untrusted: It names code that was not written by this user here. See `trust`.
        """
        content = self._read_config()
        self._refuse_foreign(content, True, env)
        return RecordedConfig(
            self._part(RunConfig, content.run, "run"),
            self._part(AGENTS.find(content.agent["name"]), content.agent, "agent"),
            self._part(METHODS.find(content.method["name"]), content.method, "method"),
            content.spaces,
        )

    def versions(self) -> dict[str, str]:
        """The versions, and the instruction set, that the run had last."""
        content = self._read_config()
        known = content.versions | {provenance.SET: content.instruction_set or ""}
        for change in content.changes:
            known |= {name: new for name, (_, new) in (change.versions or {}).items()}
        return {name: version for name, version in known.items() if version}

    def _begun(self) -> dict[str, Any]:
        """With what versions, and on what machine, the run began."""
        if not (self.path / "config.json").exists():
            return provenance.here()
        content = self._read_config()
        return {n: getattr(content, n) for n in ("versions", "machine", "instruction_set")}

    def changes(self) -> tuple[Change, ...]:
        """What was changed about the run each time that it went on."""
        return self._read_config().changes

    def runnable(self) -> RunConfig:
        """The run's options, to make its environment with. Raises `Untrusted` as `read_config`."""
        content = self._read_config()
        self._refuse_foreign(content, False, True)
        return self._part(RunConfig, content.run, "run")

    def _refuse_foreign(self, content: ConfigFile, plugins: bool, env: bool) -> None:
        """Checks that what config.json names may be imported."""
        named = trust.code({"agent": content.agent, "method": content.method, "run": content.run})
        of_plugins = [text for text in named if text.split()[0] in ("agent", "method")]
        if (plugins and of_plugins) or (env and len(named) > len(of_plugins)):
            trust.refuse_foreign(self.path, named, content.mark)

    def record(self) -> Recorded:
        """What config.json says of the run; imports nothing that it names.

        Raises:
            BadFile, BadValue: As `read_config`.
        """
        content = self._read_config()
        parts = {}
        for what, registry in (("agent", AGENTS), ("method", METHODS)):
            fields = getattr(content, what)
            if ":" in fields["name"]:
                parts[what] = NotImported.of(fields, content.labels.get(what))
            else:
                parts[what] = self._part(registry.find(fields["name"]), fields, what)
        run = self._part(RunConfig, content.run, "run")
        return Recorded(run, parts["agent"], parts["method"], content.spaces)

    def _read_config(self) -> ConfigFile:
        file = self.path / "config.json"
        content = files.read_json(file)
        if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
            raise BadFile(
                f"{file} has format {shown(content['format'])}; this sparl reads format {FORMAT}",
                file=file,
                field="format",
                value=content["format"],
                way_out="Use the version of sparl that wrote it",
            )
        config = schema.convert(schema.opened(content, file), ConfigFile, file)
        for what in ("agent", "method"):
            if not isinstance(getattr(config, what).get("name"), str):
                raise BadFile(
                    f"{file} is not as sparl wrote it: {what}.name is no text",
                    file=file,
                    field=f"{what}.name",
                )
        return config

    def _part(self, kind: Any, fields: dict[str, Any], at: str) -> Any:
        """An instance of a class from its fields in config.json."""
        own = fields if at == "run" else {k: v for k, v in fields.items() if k != "name"}
        own = kind.upgraded_options(own) if issubclass(kind, Options) else own
        return schema.make(kind, own, self.path / "config.json", at)

    def table(self, name: str, columns: list[str]) -> Table:
        """A CSV table of the run; `columns` are those of a new file."""
        return Table(self.path / name, columns)

    @property
    def policy(self) -> Path:
        """The folder of the final policy."""
        return self.path / "policy"

    @property
    def best_policy(self) -> Path:
        """The folder of the policy of the best evaluation."""
        return self.path / BEST

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes summary.json."""
        files.write_sealed(self.path / "summary.json", summary)

    def read_summary(self) -> dict[str, Any] | None:
        """The figures in summary.json; None if the run has not finished.

        Raises:
            BadFile: It is altered, or not as sparl writes it.
        """
        path = self.path / "summary.json"
        return SummaryFile.read(path).content() if path.exists() else None

    def _how_to_resume(self) -> str:
        """The command that resumes the run, and the call."""
        path = files.quoted(self.told)
        return f"sparl train --resume {path}, or sparl.resume({str(self.told)!r}) in Python"


def _counts(path: Path) -> bool:
    """Whether a file in a folder without a run is somebody's: no lock, and no rest of a kill."""
    return path.name != files.LOCK and not files.is_part(path)
