"""Who walks first: when each run of `recipes/go1/race.py` passed the gate, as a table."""

from __future__ import annotations

from pathlib import Path

from drawing import style
from drawing.data import Rows, rows
from drawing.output import Output

RACE = "race.csv"
ENOUGH = 0.25
"""m/s, as in `recipes/go1/gate.py`, which needs MuJoCo: who is at most so far off, and never falls,
has passed the gate."""
NAMES = {
    "sparse": "sparl, critics at 1:8",
    "dense": "sparl, dense critics",
    "tiny": "sparl, *tiny* critics",
    "sb3-sac": "Stable-Baselines3 SAC",
    "sbx-crossq": "SBX CrossQ",
}
HEADER = (
    *("who", "seeds", "steps to the gate", "core minutes to the gate"),
    *("steps of all", "error at the end, m/s", "falls in 5 episodes"),
)


def outputs(folder: Path) -> list[Output]:
    """Of `results/go1`, if there was a race."""
    csv = folder / RACE
    return [Output(folder / "race.md", (csv,), table)] if csv.exists() else []


def table(files: dict[str, Path]) -> str:
    """A row for each who took part; fields have a number for each seed."""
    runs: dict[str, dict[str, Rows]] = {}
    for row in rows(files[RACE]):
        runs.setdefault(row["who"], {}).setdefault(row["seed"], []).append(row)
    lines = []
    for who, of_seed in runs.items():
        passed = [next((row for row in run if _walks(row)), None) for run in of_seed.values()]
        lasts = [run[-1] for run in of_seed.values()]
        steps = ("never" if row is None else f"{int(row['step']):,}" for row in passed)
        taken = ("never" if row is None else _minutes(row) for row in passed)
        cells = (of_seed, steps, taken, (f"{int(row['step']):,}" for row in lasts))
        ends = [[row[column] for row in lasts] for column in ("error", "falls")]
        lines.append([NAMES[who], *(", ".join(cell) for cell in (*cells, *ends))])
    return style.table(HEADER, lines)


def _walks(row: dict[str, str]) -> bool:
    return float(row["error"]) <= ENOUGH and int(row["falls"]) == 0


def _minutes(row: dict[str, str]) -> str:
    return f"{int(row['core_seconds']) / 60:.1f}"
