"""The 2:4 workflow: train dense, prune once, repeat the training; beside dense and RNM 2:4.

    python recipes/asp.py                # TD3 on HalfCheetah-v5, two trainings of 150,000 steps
    python recipes/asp.py --seeds 3      # a part of it

The study, three seeds, is a file in `recipes/studies/`:

    asp                  dense for half of the steps, then pruned to 2:4 and trained again
    asp-no-permutation   the same without a permutation of the inputs before it is pruned
    rnm-2-4              2:4 from the start
    dense, tiny-2-4      beside them, the second with as many weights as 2:4 stores

All have the same number of environment steps, learning rate, batch and evaluation: what `asp`
spends on its dense half, the others train on. Stop it, and the same command goes on where it was.
Curves, table and plot go to `results/asp/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "asp", ("halfcheetah",))
