"""The command line: `sparl train | prune | import | export | eval | …`: see OVERVIEW."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from io import TextIOWrapper
from typing import Any

import tyro

import sparl
from sparl import bench, envs, exporters, kernels, training
from sparl.agents import AGENTS
from sparl.analysis import comparison
from sparl.analysis import tables as comparison_tables
from sparl.analysis.video import draw_without_a_screen, film
from sparl.cli import (
    commands,
    completion,
    distill_command,
    sweep_command,
    tables,
    training_commands,
)
from sparl.config import RunConfig, presets
from sparl.errors import BadValue, SparlError
from sparl.layouts import LAYOUTS
from sparl.methods import METHODS
from sparl.storage import RunFolder, files
from sparl.training import Console, Interrupted, evaluating, load_policy, memory, return_text

OVERVIEW = """\
usage: sparl COMMAND …

Sparse deep reinforcement learning: agents that are small from the first step.

  sparl train ENV         train an agent; --resume DIR goes on with a run
  sparl sweep STUDY.yaml  many seeds and settings side by side, compared
  sparl prune DIR         make a trained agent smaller, while it trains on
  sparl distill DIR       train a small student of a trained policy
  sparl transfer DIR ENV  learn on in another environment, as a robot's
  sparl import sb3 FILE   make a run of an agent of Stable-Baselines3
  sparl eval DIR          returns of a trained policy; --video FILE films it
  sparl inspect DIR       every layer: layout, weights, bytes, multiply-adds
  sparl compare RUN…      finished runs side by side: tables and plots
  sparl report RUN…       runs, finished or not, as a web page with a film
  sparl check ENV         whether an environment is fit, and how fast it is
  sparl features ENV      which inputs of an environment matter, of hundreds
  sparl export DIR        a trained policy as C99, as ONNX or for NumPy
  sparl list              the agents, methods, layouts and presets there are
  sparl bench …           speed of layers, of training, of a step's parts
  sparl completion        a script by which bash and zsh complete commands

sparl COMMAND --help tells a command's options; for train the main ones of the
chosen --agent and --method, and with --help-all all. For example:

  sparl train HalfCheetah-v5 --method rnm --pattern 1:8 --steps 100000
"""


ELSEWHERE = {"resume": "train --resume DIR", "play": "eval DIR --video FILE"}
"""What is looked for as a command of its own, and where it is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; 0 for success, 1 for an error that the user can put right, 2 for usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # A file's name, or an error of somebody else's, may have letters that the terminal lacks.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    commands: dict[str, Callable[[list[str]], None]] = {
        "train": training_commands.train,
        "prune": training_commands.prune,
        "distill": distill_command.distill,
        "sweep": sweep_command.sweep,
        "transfer": training_commands.transfer,
        "import": training_commands.import_agent,
        "eval": evaluate,
        "inspect": inspect,
        "compare": compare,
        "report": report,
        "check": check,
        "features": features,
        "export": export,
        "list": show_list,
        "bench": bench.main,
        "completion": completion.completion,
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print(OVERVIEW, end="")
        return 0
    if arguments[0] == "--version":
        print(f"sparl {sparl.__version__}")
        return 0
    command = commands.get(arguments[0])
    if command is None:
        near = difflib.get_close_matches(arguments[0], {*commands, *ELSEWHERE}, 1, 0.5)
        meant = f"Did you mean sparl {ELSEWHERE.get(near[0], near[0])}? " if near else ""
        there = f"{meant}There are: {', '.join(commands)}. sparl --help tells what each does."
        print(f"sparl: no command {arguments[0]!r}. {there}", file=sys.stderr)
        return 2
    try:
        command(arguments[1:])
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # Whoever reads the output has had enough of it, as `head` has after ten lines.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SparlError as error:
        print(f"sparl: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a disk, not the code
        print(f"sparl: {error}", file=sys.stderr)
        return 1
    except Interrupted as stopped:
        print(f"sparl: stopped. {stopped}", file=sys.stderr)
        return 128 + stopped.signal
    except KeyboardInterrupt:
        return 130


def _stdout_is_ours(json: bool) -> AbstractContextManager[Any]:
    """A context in which what an environment prints is no part of the JSON that is printed then."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


def evaluate(arguments: list[str]) -> None:
    """`sparl eval`."""
    args = tyro.cli(commands.Eval, prog="sparl eval", args=arguments)
    if args.video is not None:
        draw_without_a_screen()  # the environment of the evaluation imports MuJoCo
    run = RunFolder.open(args.dir, args.trust).runnable()
    policy = load_policy(args.dir, args.which)
    with (
        _stdout_is_ours(args.json),
        evaluating(run, policy.spaces, args.episodes, args.seed) as play,
    ):
        evaluation = play(policy.act)
    if args.json:
        print(json.dumps(evaluation.as_dict(), indent=2))
    else:
        print(
            f"{run.env}: mean return {return_text(evaluation.mean_return)} +- "
            f"{return_text(evaluation.std_return)} (standard deviation) over "
            f"{evaluation.counted} of {evaluation.mean_length:.0f} steps"
        )
    if args.video is not None:
        with tables.counted(f"filming {run.env}") as tell:
            seconds = film(run, policy, args.seed, args.video, tell)
        size = memory.size(args.video.stat().st_size)
        print(f"{args.video}: {seconds:.1f} s, {size}", file=sys.stderr)


def inspect(arguments: list[str]) -> None:
    """`sparl inspect`."""
    args = tyro.cli(commands.Inspect, prog="sparl inspect", args=arguments)
    report = training.inspect(args.dir)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        tables.print_report(report)


def compare(arguments: list[str]) -> None:
    """`sparl compare`."""
    args = tyro.cli(commands.Compare, prog="sparl compare", args=arguments)
    compared = comparison.compare(args.runs, reach=args.reach, against=args.against)
    for path, write in (
        (args.out, comparison_tables.save),
        (args.markdown, comparison_tables.write_markdown),
        (args.csv, comparison_tables.write_csv),
        (args.curves, comparison_tables.write_curves),
        (args.plots, comparison_tables.write_plots),
    ):
        if path is not None:
            write(compared, path)
    if args.json:
        print(json.dumps(compared.as_dict(), indent=2))
    else:
        comparison_tables.print_comparison(compared)


def report(arguments: list[str]) -> None:
    """`sparl report`."""
    args = tyro.cli(commands.Report, prog="sparl report", args=arguments)
    given: dict[str, Any] = dict(vars(args))
    out = sparl.report(given.pop("runs"), given.pop("out"), **given)
    print(f"{out}: {memory.size(out.stat().st_size)}")


def check(arguments: list[str]) -> None:
    """`sparl check`."""
    args = tyro.cli(
        commands.Check,
        prog="sparl check",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    run = RunConfig(args.env, env_kwargs=args.env_kwargs, wrappers=args.wrappers)
    with _stdout_is_ours(args.json):
        checked = envs.check(run.maker(), args.steps, args.seed, args.round_actions)
    if args.json:
        print(json.dumps(checked.as_dict(), indent=2))
    else:
        tables.print_check(args.env, checked)


def features(arguments: list[str]) -> None:
    """`sparl features`."""
    # It brings scikit-learn's Lasso, which no other command needs.
    from sparl.linear_mdp.features import find, spec_of

    args = tyro.cli(
        commands.Features,
        prog="sparl features",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if args.out is not None:
        spec_of(args.env, args.noise_inputs, (0,))  # refuses before the search what it cannot write
    console = Console(stderr=True, quiet=args.quiet, soft_wrap=True)
    relevant = find(
        args.env,
        args.noise_inputs,
        args.steps,
        args.seed,
        tell=lambda text: console.print(text),
    )
    if args.json:
        print(json.dumps(relevant.as_dict(), indent=2))
    else:
        tables.print_features(relevant.as_dict())
        print(shlex.join(relevant.command()))
    if args.out is not None:
        try:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(args.out, relevant.spec().encode() + b"\n")
        except OSError as error:
            raise BadValue(f"{args.out} cannot be written: {error.strerror}") from error


def export(arguments: list[str]) -> None:
    """`sparl export`."""
    args = tyro.cli(commands.Export, prog="sparl export", args=arguments)
    out = args.out or exporters.default_folder(args.dir, args.to, args.dtype, args.which)
    given: dict[str, Any] = vars(args) | {"out": out}
    del given["json"]
    report = sparl.export(given.pop("dir"), **given)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        tables.print_export(report, out)


def show_list(arguments: list[str]) -> None:
    """`sparl list`."""
    tyro.cli(commands.List, prog="sparl list", args=arguments)
    tables.print_list(
        {
            "agents": {name: AGENTS.describe(name) for name in AGENTS.names},
            "methods": {name: METHODS.describe(name) for name in METHODS.names},
            "layouts": {name: kind.__doc__ for name, kind in LAYOUTS.items()},
            "presets": {name: presets.describe(name) for name in presets.names()},
        }
    )
    why = kernels.why_not_native()
    print(f"kernels: {kernels.instruction_set()}" if why is None else f"kernels: plain JAX ({why})")
