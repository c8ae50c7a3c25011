"""Regret against the number of episodes N on the hard sparse linear MDP, for several dimensions d.

    python recipes/sparse_mdp.py                      # all, 20 seeds: some hours on one core
    python recipes/sparse_mdp.py --m 16 64 --seeds 5  # a part of it
    python recipes/sparse_mdp.py --constants          # what the constants were chosen by
    python recipes/sparse_mdp.py --record             # run nothing, write table and plot

`sparl/HardSparse-v0` with H = 6 and d = m + 4. Learners that explore, fit and commit are run once
for each N, with N1 of the theory's order; those that never stop learning have one curve. Regret is
the sum over episodes of the best value less the value of the policy that was followed, both by
dynamic programming. Each seed has a secret action of its own. Stop it, and the same command goes on
where it was. `regret.csv`, `table.md` and `regret.png` go to `results/sparse_mdp/`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from drawing.regret import EXPLORATORY, REGRET, UNIFORM, H, Row, outputs, read
from figures import make

from sparl.linear_mdp import FQI, LSVI, HardSparse, LassoFQI, RidgeFQI, commit, exploration

ROOT = Path(__file__).resolve().parent.parent
EPISODES = tuple(4**i for i in range(3, 9))
"""N of those that commit."""
RUNNING = 1024
"""Episodes of those that never stop learning."""
COLUMNS = ("learner", "m", "d", "seed", "N", "N1", "regret", "recovered", "best")

COMMITTING: dict[str, FQI] = {
    "LassoFQI": LassoFQI(),
    "LassoFQI, cross-validated": LassoFQI(penalty="cv"),
    "ridge FQI": RidgeFQI(),
    UNIFORM: LassoFQI(),
}
LEARNING = {
    "epsilon-greedy LSVI": LSVI(),
    "LSVI-UCB": LSVI(epsilon=0.0, bonus=0.3),
}
SLOW = "LassoFQI, cross-validated"
"""Up to m = 256 and N = 1024 only."""


def committed(name: str, mdp: HardSparse, seed: int) -> Iterator[Row]:
    learner = COMMITTING[name]
    explorer = mdp.exploratory if name in EXPLORATORY else mdp.uniform()
    assert explorer is not None and mdp.exploratory is not None
    c = mdp.eigenvalue(mdp.exploratory)
    for episodes in EPISODES if name != SLOW else EPISODES[:3]:
        # With C of the exploratory policy for both: that of the uniform one asks for more than N.
        n1 = exploration(episodes, len(mdp.support), H, mdp.dimension, c)
        rng = np.random.default_rng([seed, episodes])
        found = commit(mdp, learner, episodes, n1, explorer, rng)
        w = found.learned.weights[0, : mdp.choices]
        recovered = bool(w.argmax() == mdp.secret and w[mdp.secret] > 0)
        yield {"N": episodes, "N1": n1, "regret": found.regret, "recovered": int(recovered)} | {
            "best": int(found.found)
        }


def learned(name: str, mdp: HardSparse, seed: int) -> Iterator[Row]:
    regret = LEARNING[name].regret(mdp, RUNNING, np.random.default_rng([seed, 1]))
    for episodes in (2**i for i in range(2, 11)):
        yield {"N": episodes, "regret": regret[episodes - 1]}


def run(path: Path, ms: list[int], seeds: int) -> None:
    done = {(r["learner"], r["m"], r["seed"]) for r in read(path)}
    # What takes longest comes last.
    for names, kind in ((COMMITTING, committed), (LEARNING, learned)):
        for seed, m in product(range(seeds), ms):
            mdp: HardSparse | None = None
            for name in names:
                if (name, m, seed) in done or (name == SLOW and m > 256):
                    continue
                mdp = mdp or HardSparse(m, H, seed=seed)
                same = {"learner": name, "m": m, "d": mdp.dimension, "seed": seed}
                append(path, [same | row for row in kind(name, mdp, seed)], COLUMNS)
                print(f"{name}, m = {m}, seed {seed}", flush=True)


def constants(path: Path, ms: list[int], seeds: int) -> None:
    """What is lost per episode after N1 episodes of exploration, with which penalty."""
    found: list[Row] = []
    for m in ms:
        mdps = [HardSparse(m, H, seed=seed) for seed in range(seeds)]
        for n1 in (30, 60, 120, 480):
            for scale in (0.02, 0.05, 0.1, 0.2, 1.0):
                learner, lost, chosen, right = LassoFQI(penalty_scale=scale), [], [], []
                for seed, mdp in enumerate(mdps):
                    assert mdp.exploratory is not None
                    rng = np.random.default_rng([seed, n1])
                    got = commit(mdp, learner, n1 + 1, n1, mdp.exploratory, rng)
                    lost.append(got.regret - n1 * (H - 1 - mdp.value(mdp.exploratory)))
                    w = got.learned.weights[0, :m]
                    right.append(w.argmax() == mdp.secret and w[mdp.secret] > 0)
                    chosen.append(len(got.learned.selected()[0]))
                row = {"m": m, "N1": n1, "penalty_scale": scale, "seeds": seeds}
                row |= {"lost_per_episode": round(float(np.mean(lost)), 4)}
                row |= {"recovered": float(np.mean(right)), "selected": float(np.mean(chosen))}
                found.append(row)
                print(row, flush=True)
    path.unlink(missing_ok=True)
    append(path, found, tuple(found[0]))


def append(path: Path, found: list[Row], columns: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--m", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "sparse_mdp")
    parser.add_argument("--constants", action="store_true")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    if asked.constants:
        constants(asked.results / "constants.csv", asked.m, asked.seeds)
        return
    path = asked.results / REGRET
    if not asked.record:
        run(path, asked.m, asked.seeds)
    make(outputs(asked.results))
    print((asked.results / "table.md").read_text())


if __name__ == "__main__":
    main()
