"""The command line of the recipes that compare variants: run, record, make table and picture."""

from __future__ import annotations

import argparse
import os
from itertools import product
from pathlib import Path

from drawing.data import CURVES, SPEEDS
from drawing.study import outputs
from figures import make
from jobs import Job, Study, measure, run_all
from records import record

ROOT = Path(__file__).resolve().parent.parent


def main(
    description: str | None, name: str, known: dict[str, Study]
) -> list[tuple[Path, dict[Job, Path]]]:
    """The command line of a recipe with several studies; results go to `results/NAME/STUDY`.

    Answers with each study's results, and the folders of its runs that are done.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(dict.fromkeys(v.name for study in known.values() for v in study.variants))
    parser.add_argument("--studies", nargs="+", choices=known, default=list(known))
    parser.add_argument("--only", nargs="+", choices=names, help="variants; all if not given")
    parser.add_argument("--seeds", type=int, nargs="+", help="those of each study if not given")
    parser.add_argument("--steps", type=int, help="those of each study if not given")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / name)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / name)
    parser.add_argument("--cores", type=int, nargs="+", help="all if not given")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--record", action="store_true", help="run nothing, write what is done")
    instead.add_argument(
        "--speeds", action="store_true", help="only time each variant, on an idle machine"
    )
    asked = parser.parse_args()
    jobs = {
        name: [
            Job(variant, seed, study.env, asked.steps or variant.steps or study.steps, study.common)
            for seed, variant in product(asked.seeds or study.seeds, study.variants)
            if asked.only is None or variant.name in asked.only
        ]
        for name, study in known.items()
        if name in asked.studies
    }
    if asked.speeds:
        for study, found in jobs.items():
            variants = dict.fromkeys(job.variant for job in found)
            # One that takes its shape from a run has none yet.
            variants = [variant for variant in variants if variant.shape_of is None]
            measure(variants, known[study], asked.results / study / SPEEDS)
            if (asked.results / study / CURVES).exists():
                make(outputs(asked.results / study))
    elif not asked.record:
        # A variant that two studies share is one run.
        in_order = list(dict.fromkeys(job for study in jobs.values() for job in study))
        run_all(in_order, asked.runs, asked.cores or sorted(os.sched_getaffinity(0)))
    recorded = []
    for study, found in jobs.items():
        done = {job: job.folder(asked.runs) for job in found if job.done(asked.runs)}
        if done:
            folder = asked.results / study
            record(found, asked.runs, folder)
            make(outputs(folder))
            print((folder / "table.md").read_text())
            recorded.append((folder, done))
    return recorded
