"""What final policies return over episodes that no evaluation was made with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swept import KEYS, keep

import sparl
from sparl.storage import RunFolder

EPISODES = 100
FIRST_SEED = 1_000
"""Of the episodes, plus the run's own seed."""


def play(results: Path, done: Sequence[Path]) -> None:
    """Adds the mean return of every run's final policy to `final_100_episodes.csv`.

    Args:
        results: The folder of the study's results.
        done: Run folders of a sweep, `VARIANT-SEED`.
    """
    played = {}
    for folder in done:
        variant, _, seed = folder.name.rpartition("-")
        evaluation = sparl.Run(folder).evaluate(EPISODES, seed=FIRST_SEED + int(seed))
        row = {"env": RunFolder(folder).record().run.env, "variant": variant, "seed": seed}
        row["mean_return"] = f"{evaluation.mean_return:.1f}"
        row["std_return"] = f"{evaluation.std_return:.1f}"
        played[variant, int(seed)] = [row]
        print(f"{variant}, seed {seed}: {row['mean_return']} over {EPISODES} episodes")
    keep(results / f"final_{EPISODES}_episodes.csv", (*KEYS, "mean_return", "std_return"), played)
