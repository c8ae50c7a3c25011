"""The options of `sparl train` and `sparl prune`: fields of the run, the agent and the method.

They are flat and without prefixes, and an option of another agent or method is refused. Their
help texts are the docstrings under the dataclasses' fields. `spelling.command` goes the way back.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from sparl.agents import AGENTS, Agent
from sparl.config import command_options, groups, hints, presets, run_file, spelling
from sparl.config.command_options import Control
from sparl.config.run import RunConfig, Show
from sparl.errors import BadValue
from sparl.methods import METHODS, Method

HELP_ALL = "--help-all"


@dataclass(frozen=True)
class TrainOptions:
    """What a command line asks `sparl train` for."""

    run: RunConfig
    agent: Agent
    method: Method
    out: Path | None
    quiet: bool
    progress: Show | None
    wandb: str | None
    threads: int | None
    ray_address: str | None
    print_config: bool
    vs: tuple[Control, ...]
    seeds: str | None
    jobs: int | None
    lockstep: bool


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
    arguments: list[str],
    read: Callable[[Path], dict[str, Any]] = run_file.read,
    prog: str = "sparl train",
) -> TrainOptions:
    """The options of `sparl train`, or of a command that takes the same ones.

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
    file = presets.chosen(
        *(_named(prog, arguments, option, None) for option in ("config", "preset"))
    )
    given = run_file.Given({} if file is None else read(Path(file)), file)
    method = METHODS.find(_named(prog, arguments, "method", given.of_command().method))
    given = given.with_method(method)
    usual = given.of_command()
    agent = AGENTS.find(_named(prog, arguments, "agent", usual.agent))
    given.refuse_other_agent(agent)
    run, of_agent, of_method = given.run(), given.of(agent), given.of(method)
    command = [
        groups.option("agent", str, usual.agent, f"Algorithm: {_choices(AGENTS.names)}."),
        groups.option("method", str, usual.method, f"Sparse training: {_choices(METHODS.names)}."),
        *command_options.common(usual),
        *command_options.CONFIG,
        groups.option("wandb", str | None, usual.wandb, command_options.WANDB),
        *command_options.BESIDE,
        groups.option(
            "ray_address",
            str | None,
            usual.ray_address,
            "With --actors: the Ray cluster to run them on, HOST:PORT. If not given: RAY_ADDRESS, "
            "or a cluster of this machine alone, for this run.",
        ),
    ]
    _refuse_clashes(
        run=RunConfig, agent=agent, method=method, command=[name for name, *_ in command]
    )
    known = given.known(agent, method)
    there = known | {name for name, *_ in command}
    hints.refuse_elsewhere(arguments, there)
    kinds = {"method": METHODS.usable(), "agent": AGENTS.usable()}
    hints.refuse_misplaced(arguments, there, kinds, method=method.name, agent=agent.name)
    given.refuse_unknown(known)
    made = {name: groups.options_of(run, names) for name, names in groups.OF_RUN.items()}
    made |= _of_class("agent", of_agent) | _of_class("method", of_method)
    asked = [word for word in ("--help", "-h", HELP_ALL) if word in arguments]
    if asked and HELP_ALL not in arguments:
        made = {name: _main(name, agent, found) for name, found in made.items()}
        command = [found for found in command if found[0] in groups.MAIN]
    text = (
        "Train an agent. To go on with a run: sparl train --resume DIR.\n\n"
        f"These are the options of --agent {agent.name} and --method {method.name}; "
        "others have others.\n--help-all shows all, --help the main ones."
    )
    whole = [*command, *(groups.group(name, found) for name, found in made.items() if found)]
    parsed = _parsed(prog, text, whole, ["--help"] if asked else arguments)
    values = {
        n: v
        for name, found in made.items()
        if found
        for n, v in vars(getattr(parsed, name)).items()
    }

    def filled(config: Any, names: Iterable[str]) -> Any:
        return replace(config, **{name: values[name] for name in names})

    return TrainOptions(
        filled(run, itertools.chain(*groups.OF_RUN.values())),
        filled(of_agent, groups.own_names(agent)),
        filled(of_method, groups.own_names(method)),
        parsed.out,
        parsed.quiet,
        parsed.progress,
        parsed.wandb,
        parsed.threads,
        parsed.ray_address,
        parsed.print_config,
        parsed.vs,
        parsed.seeds,
        parsed.jobs,
        parsed.lockstep,
    )


def parse_prune(arguments: list[str]) -> PruneOptions:
    """The options of `sparl prune`; raises as `parse`."""
    prog = "sparl prune"
    pruning = {name: kind for name, kind in METHODS.usable().items() if kind.prunes}
    method = METHODS.find(_named(prog, arguments, "method", "dsp"))
    options = [
        ("dir", tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="Run folder.")]]),
        groups.option("method", str, "dsp", f"How to prune: {_choices(pruning)}."),
        groups.option("steps", int, 100_000, "Environment steps of pruning and training on."),
        *command_options.common(run_file.OfCommand()),
        groups.option("trust", bool, False, "Import the code that a run of others names."),
    ]
    usual = spelling.as_trained(method())
    ((name, of_method),) = _of_class("method", usual).items()
    of_method = [option for option in of_method if option[0] != "keep_norm"]  # it never is here
    if of_method:
        options.append(groups.group(name, of_method))
    there = {name for name, *_ in (*options, *of_method)}
    stays = "sparl prune --help lists those there are; the run's agent stays as it is"
    hints.refuse_elsewhere(arguments, there, stays)
    hints.refuse_misplaced(arguments, there, {"method": pruning}, method=method.name)
    text = (
        "Prune what a run has learned: a new run begins with its newest checkpoint, replay "
        "included, and trains on while the method prunes. The run itself stays as it is."
    )
    parsed = _parsed(prog, text, options, arguments)
    given = vars(getattr(parsed, name)) if of_method else {}
    pruner = replace(usual, **given)
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
    kind = make_dataclass("Options", options, kw_only=True, namespace={"__doc__": text})
    return tyro.cli(kind, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def _of_class(what: str, config: Any) -> dict[str, list[groups.Field]]:
    """The options of an agent or a method, by the name of their group."""
    kind = type(config)
    name = re.sub(r"\W", "_", f"{what}_{kind.name}")
    return {name: groups.options_of(config, groups.own_names(kind))}


def _main(name: str, agent: type[Agent], options: list[groups.Field]) -> list[groups.Field]:
    """The options of a group that `--help` shows."""
    others = name.startswith("agent_") and not agent.__module__.startswith("sparl.")
    whole = others or name.startswith("method_")
    return [option for option in options if whole or option[0] in groups.MAIN]


def _refuse_clashes(command: list[str], **kinds: type) -> None:
    """Raises `BadValue` where a plug-in has a field whose name another option has already."""
    taken = dict.fromkeys([*command, "resume", "help", "help_all"], "command sparl train")
    for what, kind in kinds.items():
        own = {f.name for f in fields(kind)} - getattr(kind, "internal", frozenset())
        for name in sorted(own & taken.keys()):
            raise BadValue(
                f"{kind.__name__} has a field {name}, and the {taken[name]} has an option of "
                "that name: rename the field, or use the two from Python"
            )
        taken |= dict.fromkeys(own, f"{what} {kind.__name__}")
