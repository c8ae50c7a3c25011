"""Who walks first: when each run of `recipes/go1/race.py` passed the gate, as a table."""

from __future__ import annotations

from pathlib import Path

from drawing import style
from drawing.data import Rows, rows
from drawing.output import Output

ENOUGH = 0.25
"""m/s or rad/s, as in `recipes/go1/gate.py`, which needs MuJoCo: who is at most so far off, and
never falls, has passed the gate."""
RACES = {
    "race": {
        "sparse": "sparl, critics at 1:8",
        "dense": "sparl, dense critics",
        "tiny": "sparl, *tiny* critics",
        "sb3-sac": "Stable-Baselines3 SAC",
        "sbx-crossq": "SBX CrossQ",
    },
    "any": {
        "small": "2x32, dense",
        "sparse": "2x64, sparse",
        "tiny": "2x25, dense: *tiny*",
        "sb3-ppo": "Stable-Baselines3, 2x32",
    },
}
"""By table, who takes part and what the page calls them."""
HEADER = (
    *("who", "seeds", "steps to the gate", "core minutes to the gate"),
    *("later evaluations within it", "largest error at the end", "falls at the end"),
)


def outputs(folder: Path) -> list[Output]:
    """Of `results/go1`, of the races that there were."""
    raced = [folder / f"{name}.csv" for name in RACES]
    return [Output(csv.with_suffix(".md"), (csv,), table) for csv in raced if csv.exists()]


def table(files: dict[str, Path]) -> str:
    """A row for each who took part; fields have a number for each seed."""
    ((race, path),) = files.items()
    runs: dict[str, dict[str, Rows]] = {}
    for row in rows(path):
        runs.setdefault(row["who"], {}).setdefault(row["seed"], []).append(row)
    lines = []
    for who, of_seed in runs.items():
        passed = [next((row for row in run if _walks(row)), None) for run in of_seed.values()]
        lasts = [run[-1] for run in of_seed.values()]
        later = [
            run[run.index(at) + 1 :] if at else []
            for run, at in zip(of_seed.values(), passed, strict=True)
        ]
        held = (f"{sum(map(_walks, run))} of {len(run)}" for run in later)
        steps = ("never" if row is None else f"{int(row['step']):,}" for row in passed)
        taken = ("never" if row is None else _minutes(row) for row in passed)
        cells = (of_seed, steps, taken, held)
        ends = [[row[column] for row in lasts] for column in ("error", "falls")]
        lines.append([RACES[Path(race).stem][who], *(", ".join(cell) for cell in (*cells, *ends))])
    return style.table(HEADER, lines)


def _walks(row: dict[str, str]) -> bool:
    return float(row["error"]) <= ENOUGH and int(row["falls"]) == 0


def _minutes(row: dict[str, str]) -> str:
    return f"{int(row['core_seconds']) / 60:.1f}"
