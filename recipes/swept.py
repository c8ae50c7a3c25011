"""The command line of recipes that are study files: `sparl sweep`, then tables and pictures."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from drawing.data import CURVES, RUNS, Rows, recorded, variants
from drawing.study import RATIO, SIZES, outputs
from figures import make

import sparl
from sparl.config import yaml_file
from sparl.sweeps import Study, SweepResult

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ROOT / "recipes" / "studies"
KEYS = ("env", "variant", "seed")
COLUMNS = {CURVES: (*KEYS, "step", "eval_return"), RUNS: (*KEYS, "steps", *SIZES, RATIO)}
"""Those of a sweep's tables that results keep."""

Content = dict[str, Any]
"""What a study file says."""


def main(
    description: str | None,
    name: str,
    studies: Sequence[str],
    *,
    shared: Mapping[str, str] | None = None,
    controls: Callable[[Content, Sequence[Path]], Iterable[Content]] | None = None,
    after: Callable[[Path, Sequence[Path]], None] | None = None,
) -> None:
    """Runs `recipes/studies/NAME_STUDY.yaml`; results go to `results/NAME/STUDY`.

    Args:
        description: What `--help` says.
        name: Of the recipe.
        studies: Those that it has, in their order.
        shared: By study another one in whose folder its runs lie: what both have is one run.
        controls: Gives the studies that follow one, in the same folders, by the folders of its
            runs that are done.
        after: Is called with a study's results and the folders of its runs that are done.
    """
    asked = _asked(description, name, studies)
    failed: list[Path] = []
    for study in asked.studies:
        content = _part(yaml_file.read(_file(name, study)), asked.only, asked.seeds)
        if not content["variants"]:
            continue
        results = asked.results / study
        folders = asked.runs / (shared or {}).get(study, study), results
        swept = [_train(content, *folders, asked.jobs)]
        for control in controls(content, swept[0].done) if controls else ():
            swept.append(_train(control, *folders, asked.jobs))
        failed += [log for ended in swept for log in ended.failed]
        done = [run for ended in swept for run in ended.done]
        if done:
            print((results / "table.md").read_text(encoding="utf-8"))
        if done and after:
            after(results, done)
    if failed:
        raise SystemExit(f"failed: {', '.join(map(str, failed))}")


def _asked(description: str | None, name: str, studies: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {v: None for study in studies for v in yaml_file.read(_file(name, study))["variants"]}
    parser.add_argument("--studies", nargs="+", choices=studies, default=list(studies))
    parser.add_argument("--only", nargs="+", choices=known, help="variants; all if not given")
    parser.add_argument("--seeds", nargs="+", help="0 1 or 0-4; those of each study if not given")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / name)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / name)
    parser.add_argument("--jobs", type=int, help="runs side by side; one for each core")
    return parser.parse_args()


def _file(name: str, study: str) -> Path:
    return STUDIES / f"{name}_{study}.yaml"


def _part(content: Content, only: Sequence[str] | None, seeds: Sequence[str] | None) -> Content:
    """The study with some of its variants, and with other seeds; None: with its own."""
    made = {n: given for n, given in content["variants"].items() if only is None or n in only}
    return content | {"variants": made} | ({} if seeds is None else {"seeds": seeds})


def _train(content: Content, runs: Path, results: Path, jobs: int | None) -> SweepResult:
    """Runs a study; what is done goes to results, and is drawn, also where it was stopped."""
    keys = {(job.variant, job.seed) for job in Study.of(content).jobs()}
    try:
        return sparl.sweep(content, out=runs, jobs=jobs)
    except KeyboardInterrupt as stopped:
        raise SystemExit(str(stopped)) from None
    finally:
        for table in runs.glob(f"*/{CURVES}"):
            if keys & recorded(table).keys():
                add(table.parent, results, keys)
                make(outputs(results))


def add(swept: Path, results: Path, keys: set[tuple[str, int]] | None = None) -> None:
    """Adds the tables of a sweep's environment to results.

    Args:
        swept: The folder of the environment.
        results: Where to add them.
        keys: Variant and seed of the runs to add; all if not given.
    """
    results.mkdir(parents=True, exist_ok=True)
    for name, columns in COLUMNS.items():
        found = recorded(swept / name)
        for row in (row for run in found.values() for row in run):
            # Of an environment in a file its name: the file's path is this machine's.
            row["env"] = row["env"].rpartition(":")[2]
        keep(results / name, columns, {k: found[k] for k in found if keys is None or k in keys})


def keep(path: Path, columns: Sequence[str], new: Mapping[tuple[str, int], Rows]) -> None:
    """Adds rows by variant and seed to a CSV file: a run's rows replace its older ones.

    What another machine has recorded stays, though its run folders are not here.
    """
    found = recorded(path) | dict(new)
    names = variants(found)
    keys = sorted(found, key=lambda key: (names.index(key[0]), key[1]))
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for key in keys for row in found[key])
