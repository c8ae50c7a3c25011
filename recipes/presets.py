"""Runs of the presets, each with the dense agent and *tiny* beside: what their comments tell.

    python recipes/presets.py --jobs 2                     # all of them, three seeds each
    python recipes/presets.py --presets Pendulum-v1

Stop it, and the same command goes on where it was. Curves and tables go to `results/presets/`, and
the figures into the comment of each preset, `src/sparl/config/tuned/ENV.yaml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from drawing.data import CURVES, RUNS, recorded, rows, variants
from drawing.study import outputs
from figures import make
from swept import ROOT, add

from sparl import sweeps
from sparl.config import options, presets

RESULTS = ROOT / "results" / "presets"
SEEDS = "0-2"
CHANCE, EPISODES = "chance.csv", 20
TITLE = "# Measured by recipes/presets.py: what the policies return, of seeds 0, 1 and 2."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", choices=presets.names(), default=presets.names())
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "presets")
    parser.add_argument("--jobs", type=int, help="runs side by side; one for each core")
    asked = parser.parse_args()
    for name in asked.presets:
        given = options.parse(["--preset", name])
        how = {"seeds": SEEDS, "out": asked.runs / name, "jobs": asked.jobs}
        swept = sweeps.beside(given.run, given.agent, given.method, ("dense", "tiny"), **how)
        for table in swept.folder.glob(f"*/{CURVES}"):
            add(table.parent, RESULTS / name)
        write_chance(name, RESULTS / name / CHANCE)
        make(outputs(RESULTS / name))
        write_comment(name)
        if swept.failed:
            raise SystemExit(f"failed: {', '.join(map(str, swept.failed))}")


def write_chance(name: str, path: Path) -> None:
    """What actions return that nothing has learned: uniformly random ones, and zeros of a Box."""
    env = gym.make(name)
    kinds = ("random actions", "zero actions")[: 1 + isinstance(env.action_space, gym.spaces.Box)]
    lines = ["actions,mean_return"]
    for kind in kinds:
        env.action_space.seed(0)
        returns = []
        for episode in range(EPISODES):
            env.reset(seed=episode)
            total, over = 0.0, False
            while not over:
                action = env.action_space.sample()
                zero = np.zeros_like(action)
                _, reward, *ends, _ = env.step(action if kind == kinds[0] else zero)
                total, over = total + float(reward), any(ends)
            returns.append(total)
        lines.append(f"{kind},{np.mean(returns):.6g}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_comment(name: str) -> None:
    """Puts the figures into the comment of a preset, below its first line."""
    path = presets.path_of(name)
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    found = [line for line in rest if not line.startswith("#")]
    path.write_text("\n".join([first, *comment(name), *found]) + "\n", encoding="utf-8")


def comment(name: str) -> list[str]:
    """The lines of a preset's comment that have its figures, from what is recorded."""
    curves, runs = (recorded(RESULTS / name / table) for table in (CURVES, RUNS))
    cells = []
    for variant in variants(curves):
        keys = [key for key in curves if key[0] == variant]
        returns = ", ".join(f"{float(curves[key][-1]['eval_return']):.0f}" for key in keys)
        weights = sorted(int(runs[key][0]["weights_kept"]) for key in keys)
        cells.append((variant, returns, f"{weights[len(weights) // 2]:,} weights"))
    for row in rows(RESULTS / name / CHANCE):
        cells.append((row["actions"], f"{float(row['mean_return']):.0f}", ""))
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return ["#", TITLE, *(f"#   {line}" for line in lines)]


if __name__ == "__main__":
    main()
