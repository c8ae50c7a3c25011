"""What recipes share that train with Stable-Baselines3 or SBX; it needs nothing of sparl."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize, sync_envs_normalization

ROOT = Path(__file__).resolve().parent.parent
EPISODES = 10
COLUMNS = ("env", "variant", "seed", "step", "eval_return")


class Evaluate(BaseCallback):
    """Evaluates the policy without noise every so many steps, and keeps the mean returns."""

    def __init__(self, env: Any, every: int) -> None:
        super().__init__()
        self.env, self.every = env, every
        self.returns: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        # Several environments are stepped together, and may step over a multiple.
        if self.num_timesteps // self.every > len(self.returns):
            if isinstance(self.env, VecNormalize):
                sync_envs_normalization(self.training_env, self.env)
            mean, _ = evaluate_policy(self.model, self.env, EPISODES, warn=False)
            self.returns.append((self.every * (len(self.returns) + 1), float(mean)))
            print(f"step {self.num_timesteps:,}: {mean:.1f}", flush=True)
        return True


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line that asks for `seed`; a recipe adds its own words."""
    words = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--seed", type=int, default=0)
    return words


def asked(
    description: str | None, envs: Sequence[str], results: str
) -> tuple[argparse.Namespace, Path]:
    """What the command line asks for, `env` and `seed`, and the folder below `results`."""
    words = parser(description)
    words.add_argument("--env", choices=envs, required=True)
    words.add_argument("--results", type=Path, default=ROOT / "results" / results)
    wanted = words.parse_args()
    return wanted, wanted.results / wanted.env.partition("-")[0].lower()


def record(
    folder: Path, env: str, variant: str, seed: int, returns: list[tuple[int, float]]
) -> None:
    """Adds a run's evaluations to the `curves.csv` of a folder."""
    path = folder / "curves.csv"
    folder.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for step, value in returns:
            writer.writerow((env, variant, seed, step, f"{value:.6g}"))
