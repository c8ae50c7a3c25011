"""The commands that train: `sparl train`, `prune`, `transfer` and `import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from sparl import api, exporters, launch, sweeps, training
from sparl.agents import Imported
from sparl.cli import continuing, sweep_command, tables
from sparl.config import RunConfig, options, run_file
from sparl.errors import BadValue
from sparl.policy import Policy
from sparl.storage import STEPS, RunFolder, quoted, read_table
from sparl.training import Evaluation, late, return_text

COMPILED = 10.0
"""Seconds of a run from which on it is told that most of them went into compilation."""


def train(arguments: list[str]) -> None:
    """`sparl train`: a new run, or an old one with --resume."""
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        args = tyro.cli(continuing.Resume, prog="sparl train", args=arguments)
        given: dict[str, Any] = dict(vars(args))
        training.limit_threads(given.pop("threads"))
        given["callbacks"] = callbacks_of(given.pop("wandb"))
        resumed = given.pop("resume")
        api.resume(resumed, **given)
        if not given["quiet"]:
            _conclude(resumed)
        return
    args = options.parse(arguments, _options_in)
    if args.print_config:
        print(run_file.text(args.run, args.agent, args.method), end="")
        return
    training.limit_threads(args.threads)
    if args.vs or args.seeds is not None:
        if args.seeds is not None and any(w.partition("=")[0] == "--seed" for w in arguments):
            raise BadValue(
                f"seed is {args.run.seed} and seeds is {args.seeds}: leave one of them out"
            )
        # In lockstep all seeds are this process.
        of_one = ("wandb", "ray_address", *(() if args.lockstep else ("threads", "progress")))
        for name in of_one:
            if getattr(args, name) is not None:
                raise BadValue(f"{name} is given with seeds or vs: it is for one run. Leave it out")
        how = {n: getattr(args, n) for n in ("seeds", "out", "jobs", "lockstep", "quiet")}
        result = sweeps.beside(args.run, args.agent, args.method, args.vs, **how)
        sweep_command.tell(result, args.quiet)
        return
    if args.jobs is not None:
        raise BadValue("jobs is given without seeds or vs: there is one run")
    if args.lockstep:
        raise BadValue("lockstep is given without seeds: there is one run. Say which: seeds 0-9")
    out = args.out or launch.default_folder(args.run, args.method)
    api.train(
        agent=args.agent,
        method=args.method,
        out=out,
        quiet=args.quiet,
        progress=args.progress,
        callbacks=callbacks_of(args.wandb),
        ray_address=args.ray_address,
        **vars(args.run),
    )
    if not args.quiet:
        _conclude(out)


def callbacks_of(project: str | None) -> list[training.Callback]:
    """What --wandb asks for."""
    return [] if project is None else [training.LogToWandb(project)]


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
    shown = {"quiet": args.quiet, "progress": args.progress}
    api.prune(args.dir, args.method, steps=args.steps, out=out, trust=args.trust, **shown)
    if not args.quiet:
        _conclude(out)
        _compare(args.dir, out)


def transfer(arguments: list[str]) -> None:
    """`sparl transfer`."""
    args = tyro.cli(
        continuing.Transfer,
        prog="sparl transfer",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    given = {name: value for name, value in vars(args).items() if value is not None}
    training.limit_threads(given.pop("threads", None))
    out = api.transfer(given.pop("dir"), given.pop("env"), **given).folder
    if not args.quiet:
        _conclude(out)
        _compare_returns(args.dir, out)


def _tell_compilation(out: Path, seconds: float) -> None:
    """Says of a run that has gone on for a while if it was compilation most of the time."""
    took = float(read_table(out / "metrics.csv")["compile_seconds"][-1])
    if took > seconds / 2 and seconds > COMPILED:
        print(f"  {took:.0f} of its {seconds:.0f} s went into compiling")


def _compare(before: Path, after: Path) -> None:
    """The policy before pruning and after it, and warnings where it grew or became worse."""
    run = RunFolder(after).runnable()
    policies = [training.load_policy(path) for path in (before, after)]
    old, new = map(exporters.measured, policies)
    rows: list[tables.Row] = [
        ("weights", old.weights, new.weights),
        ("bytes", old.bytes, new.bytes),
        ("microseconds per action as C here", old.microseconds, new.microseconds),
    ]
    returns = _returns(run, *policies)
    if returns is not None:
        rows.append(_row(returns))
    tables.print_before_and_after(("before", "after"), rows)
    if returns is not None:
        print(f"returns are means over {run.eval_episodes} episodes, the same ones")
    if new.bytes > old.bytes:
        print("WARNING: the policy grew. The method begins with dense layers, and has not pruned")
        print("them to what was stored before: give it more --steps, or prune a dense run")
    if returns is not None and returns[1].is_worse_than(returns[0]):
        print("WARNING: the policy got worse. More --steps prune more slowly. The best policy of")
        print(f"this size may be better: sparl eval {quoted(after)} --which best")


def _compare_returns(before: Path, after: Path) -> None:
    """What the policy earned in its new environment before it learned there, and what it earns."""
    run = RunFolder(after).runnable()
    returns = _returns(run, training.load_policy(before), training.load_policy(after))
    if returns is not None:
        tables.print_before_and_after(("before", "after"), [_row(returns)])
        print(f"both in {run.env}, over {run.eval_episodes} episodes, the same ones")


def _returns(run: RunConfig, before: Policy, after: Policy) -> tuple[Evaluation, Evaluation] | None:
    """What two policies earn in a run's environment; None where evaluations have none."""
    if not run.eval_episodes or run.eval_env == "shared":
        return None
    with training.evaluating(run, after.spaces, run.eval_episodes, run.seed) as play:
        return play(before.act), play(after.act)


def _row(returns: tuple[Evaluation, Evaluation]) -> tables.Row:
    return "mean return", returns[0].mean_return, returns[1].mean_return


def import_agent(arguments: list[str]) -> None:
    """`sparl import`."""
    args = tyro.cli(
        continuing.Import,
        prog="sparl import",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
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
        progress=args.progress,
    )
    if not args.quiet:
        _conclude(args.out)
        if not isinstance(RunFolder(args.out).read_config().agent, Imported):
            print(f"  sparl prune {quoted(args.out)}")


def _conclude(out: Path) -> None:
    """What came out, and what to do with it."""
    summary = RunFolder(out).read_summary() or {}
    returns, best = [e["return"] for e in summary["evals"]], summary["policy_best_return"]
    if summary["ended"] != STEPS:
        print(f"{out}: ended at step {summary['steps']}: {summary['ended']}")
    if not returns:
        print(f"{out}: no evaluations")
    else:
        episodes = RunFolder(out).record().run.eval_episodes
        over = f"mean over {episodes} episode{'' if episodes == 1 else 's'}"
        print(f"{out}: the policy returns {return_text(returns[-1])} ({over})")
    if (count := len(late(returns))) > 1:
        mean = summary["final_return"]
        print(f"  late training: {return_text(mean)}, the mean of its last {count} evaluations")
    if best is not None:
        at = f"at step {summary['policy_best_step']} (--which best)"
        print(f"  best policy: {return_text(best)} {at}")
    _tell_compilation(out, summary["wall_seconds"])
    print(f"  sparl inspect {quoted(out)}")
    if returns:
        print(f"  sparl eval {quoted(out)}")
