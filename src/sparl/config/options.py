"""The options of `sparl train` and `sparl prune`: fields of the run, the agent and the method.

They are flat and without prefixes, and an option of another agent or method is refused. Their
help texts are the docstrings under the dataclasses' fields. `command` goes the way back.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparl import agents
from sparl.config.run import RunConfig
from sparl.methods import METHODS, Method
from sparl.topology import NofM


@dataclass(frozen=True)
class Asked:
    """What a command line asks `sparl train` for."""

    run: RunConfig
    agent: Any
    method: Method
    out: Path | None
    quiet: bool
    ray_address: str | None


@dataclass(frozen=True)
class AskedToPrune:
    """What a command line asks `sparl prune` for."""

    dir: Path
    method: Method
    steps: int
    out: Path | None
    quiet: bool


def parse(arguments: list[str]) -> Asked:
    """Raises `BadValue` for a value out of range; usage errors and --help leave, as in argparse."""
    prog, methods = "sparl train", list(METHODS)
    agent = _named(prog, arguments, "agent", list(agents.AGENTS), "td3")
    method = _named(prog, arguments, "method", methods, "dense")
    agent_type, method_type = agents.AGENTS[agent][0], METHODS[method]
    options = [
        _flat("run", RunConfig, {}),
        _option("agent", Literal[tuple(agents.AGENTS)], "td3", "Learning algorithm."),
        _option("method", Literal[tuple(methods)], "dense", "Sparse training method."),
        *_pattern(method_type),
        *OUT_AND_QUIET,
        _option(
            "ray_address",
            str | None,
            None,
            "With --actors: the Ray cluster to run them on, HOST:PORT. If not given: RAY_ADDRESS, "
            "or a cluster of this machine alone, for this run.",
        ),
        _flat(agent, agent_type, {"default_factory": agent_type}),
        _flat(method, method_type, {"default_factory": method_type}),
    ]
    text = "Train an agent. To go on with a run: sparl train --resume DIR."
    found = _parsed(prog, text, options, arguments)
    return Asked(
        found.run,
        getattr(found, agent),
        _method(found, method),
        found.out,
        found.quiet,
        found.ray_address,
    )


def parse_prune(arguments: list[str]) -> AskedToPrune:
    """As `parse`, for `sparl prune`."""
    prog, methods = "sparl prune", [name for name, kind in METHODS.items() if kind.prunes]
    method = _named(prog, arguments, "method", methods, "dsp")
    kind = METHODS[method]
    options = [
        ("dir", tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="Run folder.")]]),
        _option("method", Literal[tuple(methods)], "dsp", "How to prune."),
        _option(
            "steps",
            int,
            100_000,
            "Environment steps of pruning and training on.",
        ),
        *_pattern(kind),
        *OUT_AND_QUIET,
        _flat(method, kind, {"default_factory": lambda: _as_trained(kind)}),
    ]
    text = (
        "Prune what a run has learned: a new run begins with its newest checkpoint, replay "
        "included, and trains on while the method prunes. The run itself stays as it is."
    )
    found = _parsed(prog, text, options, arguments)
    return AskedToPrune(found.dir, _method(found, method), found.steps, found.out, found.quiet)


def command(run: RunConfig, agent: Any, method: Method) -> list[str]:
    """The words of the command line that makes this run; `parse` makes the same of them again.

    Options that have their default are left out, but for the steps and a pattern. A run that began
    with another's checkpoint is told as `sparl prune`, without what it took over of that run.
    """
    kind = type(method)
    if run.begun_from:
        source = Path(run.begun_from).parents[1]  # of RUN/checkpoints/step-…
        words, given = ["sparl", "prune", str(source)], _changed(method, _as_trained(kind))
    else:
        words = ["sparl", "train", run.env, "--agent", agents.name_of(agent)]
        given = _changed(run, RunConfig(run.env)) | _changed(agent, type(agent)())
        given |= _changed(method, kind())
    if _pattern(kind):
        pattern = {"pattern": str(method.pattern)}  # pyright: ignore[reportAttributeAccessIssue]
        given = pattern | {name: v for name, v in given.items() if name not in ("n", "m", "v")}
    words += ["--method", method.name]
    for name, value in ({"steps": run.steps} | given).items():
        words += _spelled(name.replace("_", "-"), value)
    return words


def _changed(config: Any, usual: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from those of another one."""
    found = {f.name: getattr(config, f.name) for f in fields(config)}
    return {name: value for name, value in found.items() if value != getattr(usual, name)}


def _spelled(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]


def _as_trained(kind: type[Method]) -> Method:
    """A method's defaults in `sparl prune`: a trained network's weights have the size that they
    should have."""
    return kind(**{"keep_norm": False} if "keep_norm" in {f.name for f in fields(kind)} else {})


def _named(prog: str, arguments: list[str], option: str, choices: list[str], default: str) -> str:
    """The agent or method that the arguments name: it decides the other options."""
    parser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{option}", choices=choices, default=default)
    return getattr(parser.parse_known_args(arguments)[0], option)


def _parsed(prog: str, text: str, options: list[Any], arguments: list[str]) -> Any:
    kind = make_dataclass("Options", options, namespace={"__doc__": text})
    return tyro.cli(kind, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def _method(found: Any, name: str) -> Method:
    method = getattr(found, name)
    if not hasattr(found, "pattern"):
        return method
    pattern = NofM.parse(found.pattern)
    return replace(method, n=pattern.n, m=pattern.m, v=pattern.v)


def _pattern(method: type[Method]) -> list[Any]:
    """A method with N, M and V has them as one option, --pattern N:M or N:MxV."""
    if not {"n", "m"} <= {f.name for f in fields(method)}:
        return []
    return [
        _option(
            "pattern",
            str,
            "2:4",
            "N:M: of every M weights in a row, N are kept. N:MxV: "
            "V neighbouring rows keep the same ones.",
        )
    ]


def _option(name: str, kind: Any, default: Any, text: str) -> tuple[str, Any, Any]:
    return name, Annotated[kind, tyro.conf.arg(help=text)], field(default=default)


def _flat(name: str, kind: type, default: dict[str, Any]) -> tuple[str, Any, Any]:
    return name, tyro.conf.OmitArgPrefixes[kind], field(**default)


OUT_AND_QUIET = (
    _option(
        "out",
        Path | None,
        None,
        "Run folder, new or empty. If not given: runs/ENV-METHOD-SEED-TIME.",
    ),
    _option("quiet", bool, False, "No progress."),
)
