"""How small the policy of a Go1 can be: students of a trained one, in C, until they fail.

    python recipes/go1/smaller.py runs/go1-any --hidden 16,16 12,12 8,8

Each student is distilled (`sparl distill`), exported in int8 and compiled, and steers the robot by
that C for 20 episodes of each command. So does the policy itself, the first row. Rows are added to
`results/go1/smaller.csv`. Flash and instructions are those of an emulated Cortex-M4F, for
which it is compiled for size (`-Os`): see `ship.py` for what that needs.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from environment import Go1
from gate import BOTH_WAYS, walked
from walk import Exported

import sparl
from sparl.bench import cortex_m4

RESULTS = Path(__file__).resolve().parent.parent.parent / "results" / "go1" / "smaller.csv"
COLUMNS = ("hidden", "weights", "flash", "ram", "instructions", "command", "error", "falls")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run that is told anything")
    parser.add_argument("--hidden", nargs="+", default=["24,24", "16,16", "12,12", "8,8"])
    parser.add_argument("--steps", type=int, default=200_000, help="of each student")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    measure(asked.run, "teacher", asked.episodes, asked.results)
    for hidden in asked.hidden:
        out = asked.run / "students" / hidden.replace(",", "-")
        widths = tuple(map(int, hidden.split(",")))
        options = {"hidden": widths, "activation": "relu", "steps": asked.steps, "out": out}
        sparl.distill(asked.run, **options, quiet=True, trust=True)  # goes on where it was
        measure(out, hidden, asked.episodes, asked.results)


def measure(run: Path, hidden: str, episodes: int, results: Path) -> None:
    """Adds a row for each command that the C of a run is given."""
    folder = run / "export" / "c-int8"
    report = sparl.export(run, "c", dtype="int8", out=folder, trust=True)
    weights = sum(layer["weights"] for layer in report["layers"])
    needs, act = cortex_m4(folder, "-Os"), Exported(folder)
    new = not results.exists()
    with open(results, "a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for name, command in BOTH_WAYS["any"].items():
            found = walked(act, command, episodes, Go1("any"))
            sizes = (weights, needs["flash"], needs["ram"], round(needs["instructions"]))
            row = (hidden, *sizes, name, f"{found.error:.3f}", found.falls)
            writer.writerow(row)
            print(*row, sep="  ", flush=True)


if __name__ == "__main__":
    main()
