"""What the Lasso is for: regret on a sparse linear MDP whose data do not name what matters.

    python recipes/spread_mdp.py                 # 20 seeds: some minutes on one core
    python recipes/spread_mdp.py --seeds 5       # a part of it

`sparl/SpreadSparse-v0` with H = 6 and d = m + 2. Learners explore by the uniform policy for N1 of N
episodes, with N1 of the theory's order, fit, and commit: LassoFQI with its own penalty, and ridge
regression with three. d varies at s = 2 secret coordinates, and s at d = 258. Regret is exact, as
in `sparse_mdp.py`. Stop it, and the same command goes on where it was. `spread.csv`, `spread.md`
and `spread.png` go to `results/sparse_mdp/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from drawing.regret import H, Row, read
from drawing.spread import FEW, MIDDLE, SPREAD, outputs
from figures import make
from sparse_mdp import ROOT, append

from sparl.linear_mdp import FQI, LassoFQI, RidgeFQI, SpreadSparse, commit, exploration

EPISODES = tuple(4**i for i in range(4, 10))
INSTANCES = (*((m, FEW) for m in (16, 64, MIDDLE, 1024)), *((MIDDLE, s) for s in (1, 4, 8)))
"""m and s."""
SCALE = 0.01
"""The constant of N1. With 0.002, as for `HardSparse`, it is too small to tell weights apart."""
LEARNERS: dict[str, FQI] = {
    "LassoFQI": LassoFQI(),
    "ridge FQI, 1": RidgeFQI(ridge=1.0),
    "ridge FQI, 10": RidgeFQI(ridge=10.0),
    "ridge FQI, 100": RidgeFQI(ridge=100.0),
}
COLUMNS = ("learner", "m", "d", "s", "seed", "N", "N1", "regret", "best")


def committed(name: str, mdp: SpreadSparse, seed: int) -> Iterator[Row]:
    """A row for each N."""
    assert mdp.exploratory is not None
    c = mdp.eigenvalue(mdp.exploratory)
    for episodes in EPISODES:
        n1 = exploration(episodes, len(mdp.support), H, mdp.dimension, c, scale=SCALE)
        rng = np.random.default_rng([seed, episodes])
        found = commit(mdp, LEARNERS[name], episodes, n1, mdp.exploratory, rng)
        yield {"N": episodes, "N1": n1, "regret": found.regret, "best": int(found.found)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "sparse_mdp")
    asked = parser.parse_args()
    path = asked.results / SPREAD
    done = {(r["learner"], r["m"], r["s"], r["seed"]) for r in read(path)}
    for seed in range(asked.seeds):
        for m, s in INSTANCES:
            mdp: SpreadSparse | None = None
            for name in LEARNERS:
                if (name, m, s, seed) in done:
                    continue
                mdp = mdp or SpreadSparse(m, s, H, seed)
                same = {"learner": name, "m": m, "d": mdp.dimension, "s": s, "seed": seed}
                append(path, [same | row for row in committed(name, mdp, seed)], COLUMNS)
        print(f"seed {seed} is done", flush=True)
    make(outputs(asked.results))
    print((asked.results / "spread.md").read_text())


if __name__ == "__main__":
    main()
