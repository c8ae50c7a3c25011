"""Runs of the presets, each with the dense agent and *tiny* beside: what their comments tell.

    python recipes/presets.py --jobs 2                     # all of them, three seeds each
    python recipes/presets.py --presets Pendulum-v1
    python recipes/presets.py --presets Ant-v5 --critics 512    # and with wider critics

Stop it, and the same command goes on where it was. Curves, tables and films go to
`results/presets/`, and the figures into the comment of each preset,
`src/sparl/config/tuned/ENV.yaml`. Films of MuJoCo need OpenGL: without a screen, EGL.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import drawing.presets
import gymnasium as gym
import numpy as np
from drawing.data import CURVES, RUNS, recorded, rows, variants
from drawing.presets import COLUMNS, PRESETS
from drawing.study import outputs
from figures import make
from swept import ROOT, add

from sparl import sweeps
from sparl.analysis.film_file import gif_within, shrunk
from sparl.analysis.video import play
from sparl.config import options, presets, yaml_file
from sparl.storage import RunFolder
from sparl.training import load_policy

RESULTS = ROOT / "results" / "presets"
SEEDS, BESIDE = "0-2", ("dense", "tiny")
CHANCE, EPISODES = "chance.csv", 20
FILM, SECONDS, RATE, WIDTH, BYTES = "film.gif", 5.0, 12.5, 320, 700_000
"""Of films: the file, the longest, frames per second, pixels per row, the most bytes."""
TITLE = "# Measured by recipes/presets.py: what the policy of each seed returns."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", choices=presets.names(), default=presets.names())
    parser.add_argument("--seeds", default=SEEDS, help="0-2 if not given")
    parser.add_argument(
        "--beside", nargs="*", choices=BESIDE, default=BESIDE, help="none where none follows"
    )
    parser.add_argument("--critics", nargs="*", type=int, default=(), help="other widths of them")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "presets")
    parser.add_argument("--jobs", type=int, help="runs side by side; one for each core")
    asked = parser.parse_args()
    for name in asked.presets:
        given = options.parse(["--preset", name])
        how = {"out": asked.runs / name, "jobs": asked.jobs}
        vs = {"vs": asked.beside, "seeds": asked.seeds}
        swept = sweeps.beside(given.run, given.agent, given.method, **vs, **how)
        if asked.critics:
            how["out"] = asked.runs / f"{name}-critics"
            wider = sweeps.sweep(of_other_widths(name, asked.critics, asked.seeds), **how)
            add(wider.folder / name, RESULTS / name)
        add(swept.folder / name, RESULTS / name)
        write_chance(name, RESULTS / name / CHANCE)
        make(outputs(RESULTS / name))
        write_comment(name)
        write_table()
        own = [run for run in swept.done if run.name.startswith(f"{given.method.name}-")]
        if own:
            write_film(own[0], RESULTS / name / FILM)
        if swept.failed:
            raise SystemExit(f"failed: {', '.join(map(str, swept.failed))}")


def of_other_widths(name: str, widths: Sequence[int], seeds: str) -> dict[str, Any]:
    """A study of a preset's method with critics of other widths: METHOD-WIDTH."""
    options = yaml_file.read(presets.path_of(name))
    env, steps, method = options.pop("env"), options.pop("steps"), options["method"]
    wide = {f"{method}-{w}": options | {"critic_hidden": [w, w]} for w in widths}
    return {"envs": [env], "seeds": seeds, "steps": steps, "variants": wide}


def write_chance(name: str, path: Path, **kwargs: Any) -> None:
    """What actions return that nothing has learned: uniformly random ones, and zeros of a Box."""
    env = gym.make(name, **kwargs)
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


def measured(name: str) -> list[dict[str, str]]:
    """What is recorded of a preset: who acts, the newest return of each seed, median weights."""
    curves, runs = (recorded(RESULTS / name / table) for table in (CURVES, RUNS))
    given = options.parse(["--preset", name])
    found = []
    # The order is the file's. Peers and critics of other widths have curves there, too.
    for variant in [v for v in variants(runs) if v in (given.method.name, *BESIDE)]:
        keys = [key for key in curves if key[0] == variant]
        returns = ", ".join(str(round(float(curves[key][-1]["eval_return"]))) for key in keys)
        weights = sorted(int(runs[key][0]["weights_kept"]) for key in keys)
        found.append((variant, returns, str(weights[len(weights) // 2])))
    for row in rows(RESULTS / name / CHANCE):
        found.append((row["actions"], str(round(float(row["mean_return"]))), ""))
    return [dict(zip(COLUMNS, (name, given.agent.name, *row), strict=True)) for row in found]


def write_comment(name: str) -> None:
    """Puts the figures into the comment of a preset, below its first line."""
    path = presets.path_of(name)
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    found = [line for line in rest if not line.startswith("#")]
    path.write_text("\n".join([first, *comment(name), *found]) + "\n", encoding="utf-8")


def comment(name: str) -> list[str]:
    """The lines of a preset's comment that have its figures, from what is recorded."""
    cells = [
        (row["who"], row["returns"], f"{int(row['weights']):,} weights" if row["weights"] else "")
        for row in measured(name)
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return ["#", TITLE, *(f"#   {line}" for line in lines)]


def write_table() -> None:
    """What is recorded of all presets, as one file and as a table of the docs."""
    there = [name for name in presets.names() if (RESULTS / name / CHANCE).exists()]
    with open(RESULTS / PRESETS, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for name in there for row in measured(name))
    make(drawing.presets.outputs(RESULTS))


def write_film(folder: Path, path: Path) -> None:
    """Films a run's policy, at its own speed, from the beginning of an episode."""
    run = RunFolder.open(folder).runnable()
    fps, episode = play(run, load_policy(folder), seed=0, most=RATE)
    with closing(episode):
        frames = [shrunk(frame, WIDTH) for frame in islice(episode, round(SECONDS * fps))]
    path.write_bytes(gif_within(frames, fps, BYTES))


if __name__ == "__main__":
    main()
