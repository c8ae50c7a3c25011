"""`sparl sweep`: a study's runs, and the tables that compare them."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.table import Table

from sparl import sweeps
from sparl.analysis import tables
from sparl.cli import commands
from sparl.config import spelling
from sparl.errors import BadRun
from sparl.storage import RunFolder
from sparl.sweeps.folder import FAILED
from sparl.training import Console

SHOWN = 10
"""Trials of a search that are printed."""
WIDTH = 120
"""Columns of their table where there is no terminal."""
SEEDS = 10
"""With so many others the best one is to be trained."""


def sweep(arguments: list[str]) -> None:
    """`sparl sweep`."""
    args = tyro.cli(commands.Sweep, prog="sparl sweep", args=arguments)
    result = sweeps.sweep(args.study, out=args.out, jobs=args.jobs, quiet=args.quiet)
    if result.trials:
        _tell_trials(result)
    else:
        tell(result)


def tell(result: sweeps.SweepResult, quiet: bool = False) -> None:
    """Prints a table for each environment of a sweep; if `quiet`, nothing.

    Raises:
        BadRun: Runs failed.
    """
    if not quiet:
        print(f"runs, curves and tables are in {result.folder}")
        for comparison in result.comparisons.values():
            tables.print_comparison(comparison)
    if result.failed:
        raise BadRun(
            f"{len(result.failed)} of {len(result.failed) + len(result.done)} runs failed. The "
            f"same command tries them again. {_last_lines(result.failed)}"
        )


def _tell_trials(result: sweeps.SweepResult) -> None:
    """Prints the best trials of a search, and the command that trains the best with other seeds.

    Raises:
        BadRun: No trial is done.
    """
    counts = Counter(trial.state for trial in result.trials)
    figures = ", ".join(f"{counts[state]} {state}" for state in ("done", "pruned", "failed"))
    print(f"{len(result.trials)} trials: {figures}. They are in {result.folder}/trials.csv")
    best = result.trials[0]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("trial", no_wrap=True)
    names = list(dict.fromkeys(name for trial in result.trials for name in trial.options))
    for heading in ("state", "value", "at step", "last return", *names):
        table.add_column(heading, justify="right", overflow="fold")
    for trial in result.trials[:SHOWN]:
        options = (_cell(trial.options.get(name)) for name in names)
        reached = (_cell(trial.value), f"{trial.step:,}", _cell(trial.last_return))
        table.add_row(str(trial.number), trial.state, *reached, *options)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    if result.failed:
        lines = _last_lines(result.failed)
        print(f"The same command makes new trials for those that failed. {lines}")
    if best.state != "done":
        raise BadRun("no trial is done: the same command goes on")
    if not best.runs:  # somebody took them away
        return
    records = [RunFolder(run).record() for run in best.runs]
    run, agent, method, _ = records[0]
    words = spelling.command(replace(run, seed=0), agent, method)
    next_seed = max(record.run.seed for record in records) + 1
    print(
        f"The best of {len(result.trials)} trials was chosen by its return with these seeds: with "
        "others expect less. Train it with others before you compare it:"
    )
    print(f"  {shlex.join(words)} --seeds {next_seed}-{next_seed + SEEDS - 1}")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _last_lines(logs: Sequence[Path]) -> str:
    lines = "".join(f"\n  {_last_line(log)}\n    {log}" for log in logs)
    return f"The last line of each, and its log:{lines}"


def _last_line(log: Path) -> str:
    """What a run that failed said last. It speaks of its folder, which was set aside since."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if not lines:
        return "it printed nothing"
    aside = log.with_suffix("")
    if aside.parents[1].name != FAILED or not aside.is_dir():
        return lines[-1]
    was = aside.parents[2].joinpath(*aside.parts[-2:])
    return lines[-1].replace(str(was), str(aside))
