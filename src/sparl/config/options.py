"""The options of `sparl train` and `sparl prune`: fields of the run, the agent and the method.

They are flat and without prefixes, and an option of another agent or method is refused. Their
help texts are the docstrings under the dataclasses' fields. `command` goes the way back.
"""

from __future__ import annotations

import argparse
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from sparl.agents import AGENTS, Agent
from sparl.config import words
from sparl.config.recorded import NotImported, options_of
from sparl.config.run import RunConfig
from sparl.errors import BadValue
from sparl.methods import METHODS, Method
from sparl.plugins import Registry
from sparl.topology import NofM


@dataclass(frozen=True)
class TrainOptions:
    """What a command line asks `sparl train` for."""

    run: RunConfig
    agent: Agent
    method: Method
    out: Path | None
    quiet: bool
    ray_address: str | None


@dataclass(frozen=True)
class PruneOptions:
    """What a command line asks `sparl prune` for."""

    dir: Path
    method: Method
    steps: int
    out: Path | None
    quiet: bool
    trust: bool


def parse(arguments: list[str]) -> TrainOptions:
    """The options of `sparl train`.

    Raises:
        BadValue: A value out of range, or an agent or method that there is not.
        SystemExit: Usage errors and --help, as in argparse.
    """
    prog = "sparl train"
    agent = AGENTS.find(_named(prog, arguments, "agent", "td3"))
    method = METHODS.find(_named(prog, arguments, "method", "dense"))
    options = [
        _flat("run", RunConfig),
        _option("agent", str, "td3", f"Learning algorithm: {_choices(AGENTS.names)}."),
        _option("method", str, "dense", f"Sparse training method: {_choices(METHODS.names)}."),
        *_pattern(method),
        *OUT_AND_QUIET,
        _option(
            "ray_address",
            str | None,
            None,
            "With --actors: the Ray cluster to run them on, HOST:PORT. If not given: RAY_ADDRESS, "
            "or a cluster of this machine alone, for this run.",
        ),
        _flat("agent_options", agent, agent()),
        _flat("method_options", method, method()),
    ]
    _refuse_clashes(
        run=RunConfig, agent=agent, method=method, command=[name for name, *_ in options]
    )
    text = "Train an agent. To go on with a run: sparl train --resume DIR."
    parsed = _parsed(prog, text, options, arguments)
    return TrainOptions(
        parsed.run,
        _exactly(agent, parsed.agent_options),
        _with_pattern(_exactly(method, parsed.method_options), parsed),
        parsed.out,
        parsed.quiet,
        parsed.ray_address,
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
        *OUT_AND_QUIET,
        _option("trust", bool, False, "Import the code that a run of others names."),
        _flat("method_options", method, _as_trained(method)),
    ]
    text = (
        "Prune what a run has learned: a new run begins with its newest checkpoint, replay "
        "included, and trains on while the method prunes. The run itself stays as it is."
    )
    parsed = _parsed(prog, text, options, arguments)
    pruner = _with_pattern(_exactly(method, parsed.method_options), parsed)
    return PruneOptions(parsed.dir, pruner, parsed.steps, parsed.out, parsed.quiet, parsed.trust)


def command(run: RunConfig, agent: Agent | NotImported, method: Method | NotImported) -> list[str]:
    """The words of the command line that makes this run; `parse` makes the same of them again.

    Options that have their default are left out, but for the steps and a pattern. A run that began
    with another's checkpoint is told as `sparl prune`, without what it took over of that run; one
    that began with another library's file as `sparl import`, into a folder `imported`.
    """
    begun_from = Path(run.begun_from)
    found = ("env_spec", "env_folder", "replay_sha256", "replay_transitions")
    usual_run = RunConfig(run.env, **{name: getattr(run, name) for name in found})
    if run.begun_from and begun_from.parent.name != "checkpoints":
        line = ["sparl", "import", "sb3", run.begun_from, "--env", run.env, "--out", "imported"]
        line += _spelled("learning-rate", options_of(agent).get("learning_rate"))
        line += [*_spelled("seed", run.seed), *_spelled("steps", run.steps)]
        changed = _changed(run, usual_run)
        for name in ("env_kwargs", "wrappers"):
            line += _spelled(name.replace("_", "-"), changed[name]) if name in changed else []
        return line
    if run.begun_from:
        source = begun_from.parents[1]  # of RUN/checkpoints/step-…
        line, given = ["sparl", "prune", str(source)], {}
    else:
        line = ["sparl", "train", run.env, "--agent", _name(agent, AGENTS)]
        given = _changed(run, usual_run) | _given(agent)
    of_method = _given(method, pruning=bool(run.begun_from))
    given = {name: of_method[name] for name in ("pattern",) if name in of_method} | given
    given |= of_method
    line += ["--method", _name(method, METHODS)]
    for name, value in ({"steps": run.steps} | given).items():
        line += _spelled(name.replace("_", "-"), value)
    return line


def _name(config: Agent | Method | NotImported, registry: Registry[Any]) -> str:
    return config.spec if isinstance(config, NotImported) else registry.spec_of(type(config))


def _given(config: Agent | Method | NotImported, pruning: bool = False) -> dict[str, Any]:
    """The options that a command line must give; of a class that is not imported, all."""
    if isinstance(config, NotImported):
        options = options_of(config)
        if {"n", "m", "v"} <= options.keys():
            n, m, v = (options.pop(name) for name in ("n", "m", "v"))
            options = {"pattern": f"{n}:{m}" + (f"x{v}" if v != 1 else "")} | options
        return options
    kind = type(config)
    usual: Any = _as_trained(kind) if pruning and issubclass(kind, Method) else kind()
    changed = _changed(config, usual)
    given = {k: v for k, v in changed.items() if k not in getattr(kind, "internal", ())}
    if issubclass(kind, Method) and _pattern(kind):
        return {"pattern": str(config.pattern)} | given  # pyright: ignore[reportAttributeAccessIssue]
    return given


def _choices(names: Any) -> str:
    return f"{', '.join(names)}, or path/to/file.py:Class"


def _changed(config: Any, usual: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from those of another one."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def _spelled(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, dict):
        return [f"--{option}", *words.words_of(value)]
    if option == "wrappers":
        return [f"--{option}", *words.wrapper_words(value)]
    return [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]


def _as_trained(kind: type[Method]) -> Method:
    """A method's defaults in `sparl prune`.

    Norms are not kept there: a trained network's weights have the size that they should have.
    """
    return kind(**{"keep_norm": False} if "keep_norm" in {f.name for f in fields(kind)} else {})


def _named(prog: str, arguments: list[str], option: str, default: str) -> str:
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


def _pattern(method: type[Method]) -> list[Any]:
    """A method with N, M and V has them as one option, --pattern N:M or N:MxV."""
    if not {"n", "m", "v"} <= {f.name for f in fields(method)}:
        return []
    text = (
        "N:M: of every M weights in a row, N are kept. N:MxV: V neighbouring rows keep the same "
        "ones."
    )
    return [_option("pattern", str, "2:4", text)]


def _option(name: str, kind: Any, default: Any, text: str) -> tuple[str, Any, Any]:
    return name, Annotated[kind, tyro.conf.arg(help=text)], field(default=default)


OUT_AND_QUIET = (
    _option(
        "out",
        Path | None,
        None,
        "Run folder, new or empty. If not given: runs/ENV-METHOD-SEED-TIME-PROCESS.",
    ),
    _option("quiet", bool, False, "No progress."),
)
