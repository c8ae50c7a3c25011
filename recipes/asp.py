"""The 2:4 workflow: train dense, prune once, repeat the training; beside dense and RNM 2:4.

    python recipes/asp.py                # TD3 on HalfCheetah-v5, two trainings of 300,000 steps
    python recipes/asp.py --seeds 0      # a part of it

All have the same number of environment steps, learning rate, batch and evaluation: what `asp`
spends on its dense half, the others train on. One run on each core at a time. Stop it, and the same
command goes on where it was. Curves, table and plot go to `results/asp/`.
"""

from __future__ import annotations

from common import main
from jobs import Study, Variant

VARIANTS = (
    Variant("asp", ("--method", "asp")),
    Variant("asp-no-permutation", ("--method", "asp", "--no-permute")),
    Variant("rnm-2-4", ("--method", "rnm", "--pattern", "2:4")),
    Variant("dense", ("--method", "dense")),
)

if __name__ == "__main__":
    main(__doc__, "asp", {"halfcheetah": Study("HalfCheetah-v5", (0, 1), VARIANTS, 600_000)})
