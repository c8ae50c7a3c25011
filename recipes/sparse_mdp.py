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
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.linear_mdp import FQI, LSVI, HardSparse, LassoFQI, RidgeFQI, commit, exploration

ROOT = Path(__file__).resolve().parent.parent
H = 6
EPISODES = tuple(4**i for i in range(3, 9))
"""N of those that commit."""
RUNNING = 1024
"""Episodes of those that never stop learning."""
COLUMNS = ("learner", "m", "d", "seed", "N", "N1", "regret", "recovered", "best")

COMMITTING: dict[str, tuple[FQI, bool]] = {
    "LassoFQI": (LassoFQI(), True),
    "LassoFQI, cross-validated": (LassoFQI(penalty="cv"), True),
    "ridge FQI": (RidgeFQI(), True),
    "LassoFQI, uniform exploration": (LassoFQI(), False),
}
"""Learners, and whether they have the exploratory policy."""
LEARNING = {
    "epsilon-greedy LSVI": LSVI(),
    "LSVI-UCB": LSVI(epsilon=0.0, bonus=0.3),
}
SLOW = "LassoFQI, cross-validated"
"""Up to m = 256 and N = 1024 only."""

Row = dict[str, Any]


def committed(name: str, mdp: HardSparse, seed: int) -> Iterator[Row]:
    learner, has_policy = COMMITTING[name]
    explorer = mdp.exploratory if has_policy else mdp.uniform()
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
    done = {(r["learner"], r["m"], r["seed"]) for r in rows(path)}
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
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(found)


def rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        kinds: dict[str, Callable[[str], Any]] = {"learner": str, "regret": float}
        return [
            {key: kinds.get(key, int)(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def curves(found: list[Row], name: str, m: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """N [points] and regret [seeds, points] of a learner; without seeds if it was not run."""
    of_it = [row for row in found if row["learner"] == name and row["m"] == m]
    at = sorted({row["N"] for row in of_it})
    seeds = sorted({row["seed"] for row in of_it})
    by = {(row["seed"], row["N"]): row["regret"] for row in of_it}
    return np.array(at), np.array([[by[seed, n] for n in at] for seed in seeds])


def slope(n: NDArray[Any], regret: NDArray[np.float64]) -> tuple[float, float, float]:
    """The exponent of mean regret in N, and its 95 % interval over the seeds (bootstrap)."""

    def fitted(of: NDArray[np.float64]) -> float:
        return float(np.polyfit(np.log(n), np.log(of.mean(0)), 1)[0])

    rng = np.random.default_rng(0)
    again = [fitted(regret[rng.integers(len(regret), size=len(regret))]) for _ in range(1000)]
    return fitted(regret), *map(float, np.percentile(again, [2.5, 97.5]))


def record(found: list[Row], folder: Path) -> None:
    shown = (64, 256, 1024, 4096, 16384, 65536)
    ms = sorted({row["m"] for row in found})
    lines = [
        f"| learner | d | seeds | {' | '.join(f'N = {n:,}' for n in shown)} "
        "| exponent, 95 % | secret found |",
        "|---|---|---|" + "---|" * (len(shown) + 2),
    ]
    for name in (*COMMITTING, *LEARNING):
        for m in ms:
            n, regret = curves(found, name, m)
            if not len(regret):
                continue
            cells = [f"{regret[:, n == at].mean():,.0f}" if at in n else "" for at in shown]
            got = [
                row["recovered"]
                for row in found
                if row["learner"] == name and row["m"] == m and "recovered" in row
            ]
            # Of those that never stop learning, of the part where N < d.
            few = n <= m if name in LEARNING else n > 0
            middle, low, high = slope(n[few], regret[:, few])
            cells += [f"{middle:.2f} [{low:.2f}, {high:.2f}]", f"{np.mean(got):.1%}" if got else ""]
            lines.append(f"| {name} | {m + 4} | {len(regret)} | {' | '.join(cells)} |")
    lines.append("")
    means = [curves(found, "LassoFQI", m)[1].mean(0) for m in ms if m >= 64]
    if len(means) > 1:
        worst = (np.max(means, axis=0) / np.min(means, axis=0)).max()
        lines.append(
            f"Largest ratio of LassoFQI's curves from d = {min(m for m in ms if m >= 64) + 4}"
            f" on: {worst:.2f}."
        )
    for name in (*(k for k, (_, has) in COMMITTING.items() if not has), *LEARNING):
        ratio, upper = [], []
        for m in ms:
            n, regret = curves(found, name, m)
            for at in n[n <= m] if len(regret) else ():
                of_it = regret[:, n == at]
                error = of_it.std(ddof=1) / np.sqrt(len(of_it)) if len(of_it) > 1 else 0.0
                ratio.append(of_it.mean() / bound(m, int(at)))
                upper.append((of_it.mean() + 1.96 * error) / bound(m, int(at)))
        if ratio:
            lines.append(
                f"{name}: mean regret for N <= m is {min(ratio):.2f} to {max(ratio):.2f} of the "
                f"lower bound; the upper ends of the intervals are at least {min(upper):.2f} of it."
            )
    (folder / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def bound(m: int, n: int) -> float:
    return (H - 1) * n * (1 - (n + 1) / (2 * m))


def draw(found: list[Row], path: Path) -> None:
    """Mean regret of each learner against N, one line per d, with 95 % intervals."""
    from matplotlib.figure import Figure

    names = [name for name in (*COMMITTING, *LEARNING) if any(r["learner"] == name for r in found)]
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).reshape(-1)
    ms = sorted({row["m"] for row in found})
    for axes, name in zip(panels, names, strict=False):
        for i, m in enumerate(ms):
            n, regret = curves(found, name, m)
            if not len(regret):
                continue
            middle = regret.mean(0)
            half = 1.96 * regret.std(0, ddof=1) / np.sqrt(len(regret)) if len(regret) > 1 else 0
            axes.plot(n, middle, "-o", ms=2.5, lw=1.3, color=f"C{i}", label=f"d = {m + 4}")
            low = np.maximum(middle - half, 1)
            axes.fill_between(n, low, middle + half, color=f"C{i}", alpha=0.2, lw=0)
            if not COMMITTING.get(name, (None, False))[1]:
                few = np.unique(np.geomspace(4, m, 30).astype(int))
                below = [bound(m, int(at)) for at in few]
                axes.plot(few, below, ":", lw=1, color=f"C{i}")
        axes.set(xscale="log", yscale="log", title=name)
        axes.grid(alpha=0.3)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    panels[0].legend(fontsize="small")
    figure.supxlabel("episodes N (dotted: least regret without an exploratory policy, for N <= m)")
    figure.supylabel("regret: mean and 95 % interval over the seeds")
    figure.savefig(path, dpi=110)


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
    path = asked.results / "regret.csv"
    if not asked.record:
        run(path, asked.m, asked.seeds)
    found = rows(path)
    record(found, asked.results)
    draw(found, asked.results / "regret.png")


if __name__ == "__main__":
    main()
