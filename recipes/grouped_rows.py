"""Rows that share their choice: is it worth choosing which rows do?

    python recipes/grouped_rows.py RUN ...      # run folders of dense agents

Hidden units have no order, so a restructuring could permute them until rows that prefer the same
columns are neighbours. What there is to win is how much of the sum of |w| a hidden layer keeps:
with V = 1, with V rows as they come, and with V rows that are grouped, each by what it adds to the
rows of its group. Figures, of the critics, go to `results/shared_rows/grouping.csv`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figures import RESULTS
from numpy.typing import NDArray

from sparl.storage import RunFolder
from sparl.topology import NofM
from sparl.training.load import snapshot

PATTERNS = tuple(map(NofM.parse, ("1:8", "1:4", "2:4")))
SHARED = (2, 4, 8, 16)
COLUMNS = ("env", "seed", "critic", "pattern", "v", "alone", "neighbours", "grouped")

Weights = NDArray[np.float64]
"""The absolute weights of a layer, [out, in]."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of dense agents")
    found = [row for run in parser.parse_args().runs for row in measured(run)]
    with open(RESULTS / "shared_rows" / "grouping.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *found])


def measured(folder: Path) -> Iterator[tuple[object, ...]]:
    """Rows of the file, for the square hidden layers of a run's critics."""
    run = RunFolder(folder)
    config = run.record().run
    engine, _ = snapshot(run)
    for critic, network in engine.learner.networks("critics").items():
        for layer in network.layers:
            weights = np.abs(np.asarray(layer.to_dense(), np.float64))
            if weights.shape[0] != weights.shape[1]:
                continue
            for pattern in PATTERNS:
                alone = share(weights, np.arange(len(weights))[:, None], pattern)
                for v in SHARED:
                    as_they_come = np.arange(len(weights)).reshape(-1, v)
                    shares = [alone, share(weights, as_they_come, pattern)]
                    shares.append(share(weights, grouped(weights, v, pattern), pattern))
                    row = (config.env, config.seed, critic, str(pattern), v)
                    print(*row, *(f"{s:.3f}" for s in shares), flush=True)
                    yield *row, *(f"{s:.4f}" for s in shares)


def share(weights: Weights, groups: NDArray[np.int64], pattern: NofM) -> float:
    """The share of the sum of weights that groups of rows [groups, V] keep."""
    return float(kept(weights[groups].sum(1), pattern).sum() / weights.sum())


def kept(scores: Weights, pattern: NofM) -> NDArray[np.float64]:
    """The sum of what each row keeps of its scores, [out]."""
    blocks = scores.reshape(len(scores), -1, pattern.m)
    return np.sort(blocks, axis=2)[:, :, pattern.m - pattern.n :].sum((1, 2))


def grouped(weights: Weights, v: int, pattern: NofM) -> NDArray[np.int64]:
    """Rows in groups of V, the heaviest first: each takes the rows that lose least by joining."""
    alone = kept(weights, pattern)
    left = list(np.argsort(-weights.sum(1)))
    groups = []
    while left:
        group = [left.pop(0)]
        while len(group) < v:
            together = kept(weights[group].sum(0) + weights[left], pattern)
            group.append(left.pop(int(np.argmax(together - alone[left]))))
        groups.append(group)
    return np.array(groups)


if __name__ == "__main__":
    main()
