"""The options of a run as a YAML file, by the names that they have on the command line.

    env: CartPole-v1
    agent: dqn
    method: dsp
    steps: 100_000
    hidden: [256, 256]

Numbers and truth values are those of YAML 1.2: `1e-3` is a number, `2:4` and `no` are texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tyro

from sparl import validation
from sparl.agents import AGENTS, Agent
from sparl.config import hints, words, yaml_file
from sparl.config.run import RECORDED, RunConfig, Show
from sparl.errors import BadValue, SparlError
from sparl.methods import METHODS, Method

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class OfCommand:
    """Options of the command, in a file."""

    agent: str = "td3"
    method: str = "dense"
    out: str | None = None
    quiet: bool = False
    progress: Show | None = None
    wandb: str | None = None
    threads: int | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        validation.kinds(self)


class Given:
    """The options that a file gives, as defaults of those on the command line."""

    def __init__(self, options: dict[str, Any], file: str | None) -> None:
        """
        Args:
            options: As `read` gives them.
            file: What messages call it; None if there is none.
        """
        self._options, self._file = options, file

    def with_method(self, asked: type[Method]) -> Given:
        """The same for another method than that of the file, whose options do not count then."""
        own = METHODS.find(self.of_command().method)
        if own is asked:
            return self
        gone = _names(own)
        options = {name: value for name, value in self._options.items() if name not in gone}
        return Given(options, self._file)

    def refuse_other_agent(self, asked: type[Agent]) -> None:
        """Checks that options of the file's own agent are not given to another one.

        Raises:
            BadValue: They are.
        """
        own = AGENTS.find(self.of_command().agent)
        if own is not asked and (_names(own) - _names(asked)) & self._options.keys():
            raise BadValue(
                f"{self._file} is for agent {own.name}, and agent is {asked.name}: leave one out"
            )

    def known(self, agent: type[Agent], method: type[Method]) -> frozenset[str]:
        """The names of all options of a run with this agent and this method."""
        names = {*_names(RunConfig), *_names(agent), *_names(method), *_names(OfCommand)}
        return frozenset(names - set(RECORDED))

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Raises `BadValue` for an option that is not known, with the nearest that is."""
        hints.refuse_unknown(self._options, known, str(self._file))

    def of_command(self) -> OfCommand:
        """The options that are neither the run's, nor the agent's or the method's."""
        return self.of(OfCommand)

    def run(self) -> RunConfig:
        """The run's, without an environment if the file names none.

        That is for tyro, which then asks the command line for one.
        """
        made = self.of(RunConfig, env="?")
        if "env" not in self._options:
            object.__setattr__(made, "env", tyro.MISSING)
        return made

    def of(self, kind: type[Kind], **needed: Any) -> Kind:
        """A dataclass with what the file gives of its fields, and else its defaults.

        Raises:
            BadValue: The class refuses a value.
        """
        names = _names(kind) - set(RECORDED)
        own = {name: value for name, value in self._options.items() if name in names}
        if self._file is None:
            return kind(**needed)
        try:
            # Checked first: a file has lists for tuples, and perhaps what is of no use.
            checked = validation.converted(kind, own)
            return kind(**needed | checked)
        except SparlError as error:
            raise BadValue(f"{self._file}: {error}") from error
        except Exception as error:  # a plug-in's own check
            raise BadValue(f"{self._file}: {kind.__name__} refuses it: {error!r}") from error


def read(path: Path) -> dict[str, Any]:
    """The options in a file, by name; hyphens in names are underscores.

    Raises:
        BadFile: It is missing, or no YAML of names and values. The message says where.
    """
    return plain(yaml_file.read(path))


def plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """Options as `RunConfig` takes them: wrappers may be words, as on the command line."""
    given = underscored(found)
    wrappers = given.get("wrappers")
    if isinstance(wrappers, list) and all(isinstance(word, str) for word in wrappers):
        given["wrappers"] = words.wrappers_of(wrappers)
    return given


def underscored(found: Mapping[str, Any]) -> dict[str, Any]:
    """Options with underscores for hyphens in their names.

    Raises:
        BadValue: One is there in both spellings.
    """
    given: dict[str, Any] = {}
    for name, value in found.items():
        spelled = name.replace("-", "_")
        if spelled in given:
            raise BadValue(f"{spelled} is given twice, with hyphens and with underscores")
        given[spelled] = value
    return given


def options_of_run(run: RunConfig, agent: Agent, method: Method) -> dict[str, Any]:
    """All options of a run by name, as a file has them."""
    parts = _parts(run, agent, method)
    return {name: value for part in parts.values() for name, value in part.items()}


def text(run: RunConfig, agent: Agent, method: Method) -> str:
    """A file with all options of a run, those with their default, too."""
    lines = []
    for title, part in _parts(run, agent, method).items():
        lines += [f"# {title}" + ("" if part else ": no options"), *map(_line, part.items()), ""]
    return "\n".join(lines[:-1]) + "\n"


def _line(option: tuple[str, Any]) -> str:
    name, value = option[0], _written(option[1])
    within = value if isinstance(value, list | dict) else [value]
    dumped = yaml_file.in_one_line(within)
    return f"{name}: {dumped if within is value else dumped[1:-1]}"


def _parts(run: RunConfig, agent: Agent, method: Method) -> dict[str, dict[str, Any]]:
    names = {"env": run.env, "agent": AGENTS.spec_of(type(agent))}
    names["method"] = METHODS.spec_of(type(method))
    of_run = {name: value for name, value in _fields(run).items() if name not in RECORDED}
    return {
        "sparl train --config FILE": names,
        "the run": {name: value for name, value in of_run.items() if name not in names},
        f"agent {agent.name}": _fields(agent),
        f"method {method.name}": _fields(method),
    }


def _names(kind: type) -> set[str]:
    internal = getattr(kind, "internal", frozenset())
    return {field.name for field in dataclasses.fields(kind)} - set(internal)


def _fields(config: Any) -> dict[str, Any]:
    own = _names(type(config))
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name in own}


def _written(value: Any) -> Any:
    """A value as YAML has it: lists in place of tuples, mappings in place of dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _written(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {name: _written(entry) for name, entry in value.items()}
    return [_written(entry) for entry in value] if isinstance(value, list | tuple) else value
