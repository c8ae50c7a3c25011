"""The options of `sparl train`: the fields of the run, the chosen agent and the chosen method.

They are flat and without prefixes, and an option of another agent or method is refused. Their
help texts are the docstrings under the dataclasses' fields.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from sparl import agents
from sparl.methods import METHODS, Method
from sparl.runfolder import RunConfig
from sparl.topology import NofM


@dataclass(frozen=True)
class Asked:
    """What a command line asks `sparl train` for."""

    run: RunConfig
    agent: Any
    method: Method
    out: Path | None
    quiet: bool


def parse(arguments: list[str]) -> Asked:
    """Raises `BadValue` for a value out of range; usage errors and --help leave, as in argparse."""
    agent, method = _chosen(arguments)
    found: Any = tyro.cli(
        _flat_options(agent, method),
        prog="sparl train",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    chosen = getattr(found, method)
    if hasattr(found, "pattern"):
        pattern = NofM.parse(found.pattern)
        chosen = replace(chosen, n=pattern.n, m=pattern.m)
    return Asked(found.run, getattr(found, agent), chosen, found.out, found.quiet)


def _chosen(arguments: list[str]) -> tuple[str, str]:
    """The agent and the method that the arguments name: they decide the other options."""
    parser = argparse.ArgumentParser(prog="sparl train", add_help=False, allow_abbrev=False)
    parser.add_argument("--agent", choices=list(agents.AGENTS), default="td3")
    parser.add_argument("--method", choices=list(METHODS), default="dense")
    known, _ = parser.parse_known_args(arguments)
    return known.agent, known.method


def _flat_options(agent: str, method: str) -> type:
    agent_type, method_type = agents.AGENTS[agent][0], METHODS[method]
    # A method with N and M has them as one option, --pattern N:M.
    has_pattern = {"n", "m"} <= {f.name for f in fields(method_type)}
    pattern = _option("pattern", str, "2:4", "N:M: of every M weights in a row, N are kept.")
    return make_dataclass(
        "Train",
        [
            _flat("run", RunConfig, {}),
            _option("agent", Literal[tuple(agents.AGENTS)], "td3", "Learning algorithm."),
            _option("method", Literal[tuple(METHODS)], "dense", "Sparse training method."),
            *([pattern] if has_pattern else []),
            _option(
                "out",
                Path | None,
                None,
                "Run folder, new or empty. If not given: runs/ENV-METHOD-SEED-TIME.",
            ),
            _option("quiet", bool, False, "No progress."),
            _flat(agent, agent_type, {"default_factory": agent_type}),
            _flat(method, method_type, {"default_factory": method_type}),
        ],
        namespace={"__doc__": "Train an agent. To go on with a run: sparl train --resume DIR."},
    )


def _option(name: str, kind: Any, default: Any, text: str) -> tuple[str, Any, Any]:
    return name, Annotated[kind, tyro.conf.arg(help=text)], field(default=default)


def _flat(name: str, kind: type, default: dict[str, Any]) -> tuple[str, Any, Any]:
    return name, tyro.conf.OmitArgPrefixes[kind], field(**default)
