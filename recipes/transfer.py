"""A lander in wind, with what was learned in calm air and without.

    python recipes/presets.py --presets LunarLander-v3            # the runs in calm air
    python recipes/transfer.py runs/presets/LunarLander-v3/LunarLander-v3

`sparl transfer` of each run of the preset, at 1:8 and dense, into wind, and beside it the same
options and seeds afresh there (`-afresh`), 200,000 steps each. The evaluation at step 0 is of what
was learned in calm air. Curves go to `results/transfer/lander/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from drawing.data import CURVES
from drawing.study import outputs
from figures import RESULTS, make
from presets import CHANCE, write_chance
from swept import COLUMNS, keep

import sparl
from sparl.storage import RunFolder

ENV = "LunarLander-v3"
WIND: dict[str, Any] = {"enable_wind": True, "wind_power": 19.0}
VARIANTS = ("rnm", "dense")
ASKED: dict[str, Any] = {
    "steps": 200_000,
    "envs": 16,
    "eval_every": 20_000,
    "env_kwargs": WIND,
    "quiet": True,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("calm", type=Path, help="folder of the preset's runs, VARIANT-SEED")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=RESULTS.parent / "runs" / "transfer")
    asked = parser.parse_args()
    results = RESULTS / "transfer" / "lander"
    results.mkdir(parents=True, exist_ok=True)
    write_chance(ENV, results / CHANCE, **WIND)
    for seed in asked.seeds:
        for variant in VARIANTS:
            source = asked.calm / f"{variant}-{seed}"
            moved, afresh = (
                asked.runs / f"{name}-{seed}" for name in (variant, f"{variant}-afresh")
            )
            if not moved.exists():
                sparl.transfer(source, ENV, out=moved, **ASKED)
            if not afresh.exists():
                _, agent, method, _ = RunFolder.open(source).read_config()
                sparl.train(ENV, agent, method, seed=seed, out=afresh, **ASKED)
            before = sparl.load(source).evaluate(seed=seed, env=gym.make(ENV, **WIND)).mean_return
            add_curve(results, moved, [(0, before)])
            add_curve(results, afresh)
    make(outputs(results))


def add_curve(results: Path, run: Path, begun: Sequence[tuple[int, float]] = ()) -> None:
    """Adds a run's evaluations to the curves, behind those that were made before it began."""
    variant, _, seed = run.name.rpartition("-")
    summary = RunFolder(run).read_summary()
    assert summary is not None
    curve = [*begun, *((e["step"], e["return"]) for e in summary["evals"])]
    of = {"env": ENV, "variant": variant, "seed": seed}
    rows = [of | {"step": step, "eval_return": f"{value:.6g}"} for step, value in curve]
    print(variant, seed, [round(value) for _, value in curve], flush=True)
    keep(results / CURVES, COLUMNS[CURVES], {(variant, int(seed)): rows})


if __name__ == "__main__":
    main()
