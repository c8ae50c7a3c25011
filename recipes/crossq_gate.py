"""The gate before wide critics: CrossQ's critics, dense and 1:8, of 256 and of 512.

    python recipes/crossq_gate.py --jobs 2

Walker2d-v5, 100,000 steps, seeds 0 and 1, learning rates 3e-3 and 1e-3. The actor is 2x256 and
dense in all of them; the study is a file in `recipes/studies/`:

    dense, dense-512                 dense critics of 256 and of 512 (each name ends with the rate)
    rnm-1-8-of-512, rnm-1-8-of-256   1:8 in the hidden layer of both critics, every 1,000 updates
                                     chosen anew
    rnm-1-8x4-of-256                 the same, where four neighbouring neurons keep the same inputs
    tiny                             dense critics with as many weights as those 1:8 of 256

Level means: the mean of the last three evaluations is within 10 % of that of dense 256, in both
seeds, each at its better learning rate; what is printed last says it. (The table's final return is
the mean of ten evaluations, here the whole curve.) Stop it, and the same command goes on where it
was. Curves and tables go to `results/crossq_gate/`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from drawing.data import CURVES, recorded
from swept import main

LAST = 3
"""Evaluations whose mean counts."""
RATES = ("3e-3", "1e-3")


def tell(results: Path, done: Sequence[Path]) -> None:
    """Prints whether level is met."""
    print("\n".join(verdicts(results)))


def verdicts(results: Path) -> list[str]:
    """Of each variant the mean of the last evaluations, by seed, and its share of that of the best
    dense 256."""
    last: dict[str, dict[int, float]] = defaultdict(dict)
    for (variant, seed), rows in recorded(results / CURVES).items():
        last[variant][seed] = fmean(float(row["eval_return"]) for row in rows[-LAST:])
    dense = [last[name] for rate in RATES if (name := f"dense-{rate}") in last]
    best = max(dense, key=lambda returns: fmean(returns.values()), default={})
    lines = []
    for variant, returns in last.items():
        shares = (
            f"seed {seed}: {value:.0f}" + (f" ({value / best[seed]:.2f})" if seed in best else "")
            for seed, value in sorted(returns.items())
        )
        lines.append(f"{variant}: {', '.join(shares)}")
    return lines


if __name__ == "__main__":
    main(__doc__, "crossq_gate", ("walker2d",), after=tell)
