"""The options of `sparl train` and `sparl prune`: fields of the run, the agent and the method.

They are flat and without prefixes, and an option of another agent or method is refused. Their
help texts are the docstrings under the dataclasses' fields. `spelling.command` goes the way back.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from sparl.agents import AGENTS, Agent
from sparl.config import hints, run_file, spelling
from sparl.config.run import RunConfig, Show
from sparl.errors import BadValue
from sparl.methods import METHODS, Method
from sparl.topology import NofM


@dataclass(frozen=True)
class TrainOptions:
    """What a command line asks `sparl train` for."""

    run: RunConfig
    agent: Agent
    method: Method
    out: Path | None
    quiet: bool
    progress: Show | None
    threads: int | None
    ray_address: str | None
    print_config: bool


@dataclass(frozen=True)
class PruneOptions:
    """What a command line asks `sparl prune` for."""

    dir: Path
    method: Method
    steps: int
    out: Path | None
    quiet: bool
    progress: Show | None
    threads: int | None
    trust: bool


def parse(
    arguments: list[str], read: Callable[[Path], dict[str, Any]] = run_file.read
) -> TrainOptions:
    """The options of `sparl train`.

    Args:
        arguments: The words.
        read: Gives the options, by name, in the file that --config names. They are the defaults of
            the words.

    Raises:
        BadFile: The file cannot be read.
        BadValue: A value out of range, an agent or method that there is not, or an unknown option
            in the file.
        SystemExit: Usage errors and --help, as in argparse.
    """
    prog = "sparl train"
    file = _named(prog, arguments, "config", None)
    given = run_file.Given({} if file is None else read(Path(file)), file)
    usual = given.of_command()
    agent = AGENTS.find(_named(prog, arguments, "agent", usual.agent))
    method = METHODS.find(_named(prog, arguments, "method", usual.method))
    options = [
        _flat("run", RunConfig, MISSING if file is None else given.run()),
        _option("agent", str, usual.agent, f"Learning algorithm: {_choices(AGENTS.names)}."),
        _option("method", str, usual.method, f"Sparse training method: {_choices(METHODS.names)}."),
        *_pattern(method, usual.pattern),
        *_common(usual),
        *CONFIG,
        _option(
            "ray_address",
            str | None,
            usual.ray_address,
            "With --actors: the Ray cluster to run them on, HOST:PORT. If not given: RAY_ADDRESS, "
            "or a cluster of this machine alone, for this run.",
        ),
        _flat("agent_options", agent, given.of(agent)),
        _flat("method_options", method, given.of(method)),
    ]
    _refuse_clashes(
        run=RunConfig, agent=agent, method=method, command=[name for name, *_ in options]
    )
    known = given.known(agent, method)
    hints.refuse_elsewhere(arguments, known)
    given.refuse_unknown(known)
    text = "Train an agent. To go on with a run: sparl train --resume DIR."
    parsed = _parsed(prog, text, options, arguments)
    return TrainOptions(
        parsed.run,
        _exactly(agent, parsed.agent_options),
        _with_pattern(_exactly(method, parsed.method_options), parsed),
        parsed.out,
        parsed.quiet,
        parsed.progress,
        parsed.threads,
        parsed.ray_address,
        parsed.print_config,
    )


def parse_prune(arguments: list[str]) -> PruneOptions:
    """The options of `sparl prune`; raises as `parse`."""
    prog = "sparl prune"
    pruning = [name for name, kind in METHODS.usable().items() if kind.prunes]
    method = METHODS.find(_named(prog, arguments, "method", "dsp"))
    options = [
        ("dir", tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="Run folder.")]]),
        _option("method", str, "dsp", f"How to prune: {_choices(pruning)}."),
        _option("steps", int, 100_000, "Environment steps of pruning and training on."),
        *_pattern(method),
        *_common(run_file.OfCommand()),
        _option("trust", bool, False, "Import the code that a run of others names."),
        _flat("method_options", method, spelling.as_trained(method)),
    ]
    text = (
        "Prune what a run has learned: a new run begins with its newest checkpoint, replay "
        "included, and trains on while the method prunes. The run itself stays as it is."
    )
    parsed = _parsed(prog, text, options, arguments)
    pruner = _with_pattern(_exactly(method, parsed.method_options), parsed)
    more = (parsed.steps, parsed.out, parsed.quiet, parsed.progress, parsed.threads, parsed.trust)
    return PruneOptions(parsed.dir, pruner, *more)


def _choices(names: Any) -> str:
    return f"{', '.join(names)}, or path/to/file.py:Class"


def _named(prog: str, arguments: list[str], option: str, default: Any) -> Any:
    """The agent or method that the arguments name: it decides the other options."""
    parser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{option}", default=default)
    return getattr(parser.parse_known_args(arguments)[0], option)


def _parsed(prog: str, text: str, options: list[Any], arguments: list[str]) -> Any:
    kind = make_dataclass("Options", options, namespace={"__doc__": text})
    return tyro.cli(kind, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def _flat(name: str, kind: type, default: Any = MISSING) -> tuple[str, Any, Any]:
    """A dataclass whose fields are options without a prefix, but for its `internal` ones."""
    hidden = getattr(kind, "internal", ())
    if hidden:
        suppressed = [
            (f.name, tyro.conf.Suppress[Any], field(default=f.default))
            for f in fields(kind)
            if f.name in hidden
        ]
        kind = make_dataclass(kind.__name__, suppressed, bases=(kind,), frozen=True)
        default = kind(**{f.name: getattr(default, f.name) for f in fields(default)})
    given = {} if default is MISSING else {"default": default}
    return name, tyro.conf.OmitArgPrefixes[kind], field(**given)


def _refuse_clashes(command: list[str], **kinds: type) -> None:
    """Raises `BadValue` where a plug-in has a field whose name another option has already."""
    taken = dict.fromkeys([*command, "resume", "help"], "command sparl train")
    for what, kind in kinds.items():
        own = {f.name for f in fields(kind)} - getattr(kind, "internal", frozenset())
        for name in sorted(own & taken.keys()):
            raise BadValue(
                f"{kind.__name__} has a field {name}, and the {taken[name]} has an option of "
                "that name: rename the field, or use the two from Python"
            )
        taken |= dict.fromkeys(own, f"{what} {kind.__name__}")


def _exactly(kind: type, parsed: Any) -> Any:
    """The same values in the class itself; what was parsed may be of a derived one."""
    return kind(**{f.name: getattr(parsed, f.name) for f in fields(kind)})


def _with_pattern(method: Any, parsed: Any) -> Method:
    if not hasattr(parsed, "pattern"):
        return method
    pattern = NofM.parse(parsed.pattern)
    return replace(method, n=pattern.n, m=pattern.m, v=pattern.v)


def _pattern(method: type[Method], usual: str = "2:4") -> list[Any]:
    """A method with N, M and V has them as one option, --pattern N:M or N:MxV."""
    if not spelling.has_pattern(method):
        return []
    text = (
        "N:M: of every M weights in a row, N are kept. N:MxV: V neighbouring rows keep the same "
        "ones."
    )
    return [_option("pattern", str, usual, text)]


def _option(name: str, kind: Any, default: Any, text: str) -> tuple[str, Any, Any]:
    return name, Annotated[kind, tyro.conf.arg(help=text)], field(default=default)


def _common(usual: run_file.OfCommand) -> list[Any]:
    text = "Run folder, new or empty. If not given: runs/ENV-METHOD-SEED-TIME-PROCESS."
    return [
        _option("out", Path | None, None if usual.out is None else Path(usual.out), text),
        _option("quiet", bool, usual.quiet, "Print nothing."),
        _option("progress", Show | None, usual.progress, PROGRESS),
        _option("threads", int | None, usual.threads, THREADS),
    ]


PROGRESS = (
    "off: notes alone. plain: a line now and then. rich: a line that is written anew. If not "
    "given: rich on a terminal, and else plain."
)
THREADS = (
    "Threads that compute. If not given, one for each core. Of several runs side by side each is "
    "best given its share; the figures are the same with any number."
)
CONFIG = (
    _option(
        "config",
        Path | None,
        None,
        "YAML file of options by their names here, env, agent and method among them, or the folder "
        "of a run. What the command line says comes before it.",
    ),
    _option("print_config", bool, False, "Print all options as such a file, and do nothing."),
)
