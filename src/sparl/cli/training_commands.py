"""The commands that train: `sparl train`, `sparl prune` and `sparl import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from sparl import api, launch, training
from sparl.agents import Imported
from sparl.cli import commands
from sparl.config import options, run_file
from sparl.errors import BadValue
from sparl.storage import STEPS, RunFolder, quoted


def train(arguments: list[str]) -> None:
    """`sparl train`: a new run, or an old one with --resume."""
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        args = tyro.cli(commands.Resume, prog="sparl train", args=arguments)
        given: dict[str, Any] = dict(vars(args))
        training.limit_threads(given.pop("threads"))
        api.resume(given.pop("resume"), **given)
        return
    args = options.parse(arguments, _options_in)
    if args.print_config:
        print(run_file.text(args.run, args.agent, args.method), end="")
        return
    training.limit_threads(args.threads)
    out = args.out or launch.default_folder(args.run, args.method)
    api.train(
        agent=args.agent,
        method=args.method,
        out=out,
        quiet=args.quiet,
        ray_address=args.ray_address,
        **vars(args.run),
    )
    if not args.quiet:
        _conclude(out)


def _options_in(path: Path) -> dict[str, Any]:
    """The options in a file, or those of the run in a folder."""
    if not path.is_dir():
        return run_file.read(path)
    run, agent, method, _ = RunFolder.open(path).read_config()
    if run.begun_from:
        raise BadValue(
            f"{path} began with {run.begun_from}: no options of sparl train make such a run"
        )
    return run_file.options_of_run(run, agent, method)


def prune(arguments: list[str]) -> None:
    """`sparl prune`."""
    args = options.parse_prune(arguments)
    training.limit_threads(args.threads)
    run = RunFolder.open(args.dir).record().run
    out = args.out or launch.default_folder(run, args.method)
    api.prune(args.dir, args.method, steps=args.steps, out=out, quiet=args.quiet, trust=args.trust)
    if not args.quiet:
        _conclude(out)


def import_agent(arguments: list[str]) -> None:
    """`sparl import`."""
    args = tyro.cli(
        commands.Import, prog="sparl import", args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
    )
    training.limit_threads(args.threads)
    api.import_sb3(
        args.file,
        args.env,
        env_kwargs=args.env_kwargs,
        wrappers=args.wrappers,
        steps=args.steps,
        learning_rate=args.learning_rate,
        vecnormalize=args.vecnormalize,
        seed=args.seed,
        out=args.out,
        quiet=args.quiet,
    )
    if not args.quiet:
        _conclude(args.out)
        if not isinstance(RunFolder(args.out).read_config().agent, Imported):
            print(f"  sparl prune {quoted(args.out)}")


def _conclude(out: Path) -> None:
    """What came out, and what to do with it."""
    summary = RunFolder(out).read_summary() or {}
    final, best = summary["final_return"], summary["policy_best_return"]
    if summary["ended"] != STEPS:
        print(f"{out}: ended at step {summary['steps']}: {summary['ended']}")
    print(f"{out}: " + ("no evaluations" if final is None else f"final return {final:.1f}"))
    if best is not None:
        print(f"  best policy: {best:.1f} at step {summary['policy_best_step']} (--which best)")
    print(f"  sparl inspect {quoted(out)}")
    print(f"  sparl eval {quoted(out)}")
