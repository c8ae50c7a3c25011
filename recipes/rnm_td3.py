"""RNM-TD3 beside dense TD3 at equal steps, learning rate, batch and evaluation (2602.14578).

    python recipes/rnm_td3.py                     # HalfCheetah-v5, 100k steps, 2 seeds
    python recipes/rnm_td3.py --steps 300000      # goes on with what is there

Runs are resumable: stop it, and the same command goes on. Curves, table and plot go to
`results/rnm_td3/`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from common import ROOT, Job, Variant, draw, record, run_all

VARIANTS = {
    "dense": Variant("dense", ("--method", "dense")),
    "rnm 2:4": Variant("rnm-2-4", ("--method", "rnm", "--pattern", "2:4")),
    "rnm 1:4": Variant("rnm-1-4", ("--method", "rnm", "--pattern", "1:4")),
    "rnm 1:8": Variant("rnm-1-8", ("--method", "rnm", "--pattern", "1:8")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["dense", "rnm 2:4"])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "rnm_td3")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "rnm_td3")
    asked = parser.parse_args()
    jobs = [
        Job(VARIANTS[name], seed, asked.env, asked.steps)
        for seed in asked.seeds
        for name in asked.variants
    ]
    run_all(jobs, asked.runs, sorted(os.sched_getaffinity(0)))
    record(jobs, asked.runs, asked.results)
    draw(jobs, asked.runs, asked.results / "curves.png", f"TD3 on {asked.env}")


if __name__ == "__main__":
    main()
