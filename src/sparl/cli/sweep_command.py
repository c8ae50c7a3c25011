"""`sparl sweep`: a study's runs, and the tables that compare them."""

from __future__ import annotations

from pathlib import Path

import tyro

from sparl import sweeps
from sparl.analysis import tables
from sparl.cli import commands
from sparl.errors import BadRun


def sweep(arguments: list[str]) -> None:
    """`sparl sweep`."""
    args = tyro.cli(commands.Sweep, prog="sparl sweep", args=arguments)
    tell(sweeps.sweep(args.study, out=args.out, jobs=args.jobs, quiet=args.quiet))


def tell(result: sweeps.SweepResult) -> None:
    """Prints a table for each environment of a sweep.

    Raises:
        BadRun: Runs failed.
    """
    print(f"runs, curves and tables are in {result.folder}")
    for comparison in result.comparisons.values():
        tables.print_comparison(comparison)
    if result.failed:
        logs = "".join(f"\n  {_last_line(log)}\n    {log}" for log in result.failed)
        raise BadRun(
            f"{len(result.failed)} of {len(result.failed) + len(result.done)} runs failed. The "
            f"same command tries them again. The last line of each, and its log:{logs}"
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
