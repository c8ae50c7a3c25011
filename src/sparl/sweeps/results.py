"""What is worth keeping of a sweep's runs: raw curves, and a few figures of each.

Both tables of an environment have a row's variant and seed, so that rows of a run take the place of
older ones. What another machine has recorded stays, though its run folders are not here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparl.errors import BadFile
from sparl.storage import RunFolder, files
from sparl.sweeps.folder import SweepFolder
from sparl.sweeps.study import Job
from sparl.training import inspect

CURVES, RUNS, COMPARISON = "curves.csv", "runs.csv", "comparison"
KEYS = ("env", "variant", "seed")
CURVE = (*KEYS, "step", "eval_return")
SIZES = ("neurons", "weights_kept", "bytes")
"""Of the policy."""
FIGURES = ("steps", "final_return", "best_return", "average_compression_ratio")
TIMES = ("steps_per_second", "wall_seconds")
RUN = (*KEYS, *FIGURES, *SIZES, *TIMES)

Rows = list[dict[str, str]]


def record(folder: SweepFolder, jobs: Sequence[Job], done: Sequence[Job]) -> None:
    """Adds runs that are done to the tables of their environments.

    Args:
        folder: The sweep's.
        jobs: All of its runs: rows are in the order of their variants.
        done: Those to add.

    Raises:
        BadFile: A table or a run folder is not as sparl wrote it.
        OSError: A table cannot be written.
    """
    order = list(dict.fromkeys(job.variant for job in jobs))
    for env in dict.fromkeys(job.env for job in done):
        found = {job: RunFolder(folder.run(job)) for job in done if job.env == env}
        summaries = {job: run.read_summary() or {} for job, run in found.items()}
        place = next(run.path.parent for run in found.values())
        curves = {
            job: [{"step": e["step"], "eval_return": e["return"]} for e in summary["evals"]]
            for job, summary in summaries.items()
        }
        runs = {job: [_figures(found[job], summary)] for job, summary in summaries.items()}
        _keep(place / CURVES, CURVE, curves, order)
        _keep(place / RUNS, RUN, runs, order)


def _figures(run: RunFolder, summary: Mapping[str, Any]) -> dict[str, Any]:
    (policy,) = inspect(run.policy)["networks"].values()
    figures = {name: summary.get(name) for name in (*FIGURES, *TIMES)}
    return figures | {name: policy[name] for name in SIZES}


def _keep(
    path: Path,
    columns: Sequence[str],
    new: Mapping[Job, Sequence[Mapping[str, Any]]],
    order: Sequence[str],
) -> None:
    """Adds rows to a CSV file, or puts them in place of older ones of the same run."""
    found = _recorded(path, columns)
    for job, rows in new.items():
        of_run = {"env": job.env, "variant": job.variant, "seed": str(job.seed)}
        cells = ({name: cell(value) for name, value in row.items()} for row in rows)
        found[job.variant, job.seed] = [of_run | row for row in cells]
    names = [*order, *(name for name, _ in found if name not in order)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for key in sorted(found, key=lambda key: (names.index(key[0]), key[1])):
        writer.writerows(found[key])
    files.write_bytes(path, text.getvalue().encode())


def _recorded(path: Path, columns: Sequence[str]) -> dict[tuple[str, int], Rows]:
    """The rows of a CSV file by variant and seed; none if there is no file."""
    found: dict[tuple[str, int], Rows] = {}
    if not path.exists():
        return found
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != tuple(columns):
            raise BadFile(
                f"{path} has other columns than {', '.join(columns)}",
                file=path,
                way_out="Move it away: it is written anew from the runs that are here",
            )
        try:
            for row in reader:
                found.setdefault((row["variant"], int(row["seed"])), []).append(row)
        except (TypeError, ValueError, csv.Error) as error:  # of a short row the seed may be None
            raise BadFile(
                f"{path} cannot be read: line {reader.line_num}: {error}",
                file=path,
                field=f"line {reader.line_num}",
                way_out="Mend that line, or move the file away: it is written anew from the runs "
                "that are here",
            ) from error
    return found


def cell(value: Any) -> str:
    """A value of a table; of a number six digits, more than any two seeds have in common."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
