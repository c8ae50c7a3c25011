"""The command line of recipes that are study files: `sparl sweep`, then tables and pictures."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from drawing.data import CURVES, RUNS, recorded, variants
from drawing.study import RATIO, SIZES, outputs
from figures import make

import sparl

ROOT = Path(__file__).resolve().parent.parent
KEYS = ("env", "variant", "seed")
COLUMNS = {CURVES: (*KEYS, "step", "eval_return"), RUNS: (*KEYS, "steps", *SIZES, RATIO)}
"""Those of a sweep's tables that results keep."""


def main(description: str | None, name: str, studies: Sequence[str]) -> Path:
    """Runs `recipes/studies/NAME_STUDY.yaml`; results go to `results/NAME/STUDY`.

    Returns:
        The folder of results, `results/NAME`.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", nargs="+", choices=studies, default=list(studies))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / name)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / name)
    parser.add_argument("--jobs", type=int, help="runs side by side; one for each core")
    asked = parser.parse_args()
    failed = []
    for study in asked.studies:
        file = Path(__file__).parent / "studies" / f"{name}_{study}.yaml"
        try:
            swept = sparl.sweep(file, out=asked.runs / study, jobs=asked.jobs)
        except KeyboardInterrupt as stopped:
            raise SystemExit(f"{stopped}, or with the same command") from None
        failed += map(str, swept.failed)
        for table in swept.folder.glob(f"*/{CURVES}"):
            add(table.parent, asked.results / study)
            make(outputs(asked.results / study))
            print((asked.results / study / "table.md").read_text())
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    return asked.results


def add(swept: Path, results: Path) -> None:
    """Adds the tables of a sweep's environment to results: a run's rows replace its older ones.

    What another machine has recorded stays, though its run folders are not here.
    """
    results.mkdir(parents=True, exist_ok=True)
    for name, columns in COLUMNS.items():
        found = recorded(results / name) | recorded(swept / name)
        names = variants(found)
        keys = sorted(found, key=lambda key: (names.index(key[0]), key[1]))
        with open(results / name, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for key in keys for row in found[key])
