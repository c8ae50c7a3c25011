"""Rows that share their choice: 1:8 with V neighbouring rows that keep the same columns.

    python recipes/shared_rows.py                               # both studies, in order
    python recipes/shared_rows.py --studies halfcheetah --seeds 0 1

Studies, five seeds each, TD3 as in `rnm_td3.py`:

    halfcheetah   HalfCheetah-v5: 1:8 with V = 1, 4, 8, 16, 1:4 with V = 4, and *tiny*: the dense
                  agent with as many stored weights as 1:8
    ant           the same on Ant-v5

The selection alone differs from RNM's: columns are chosen by the sum over V rows of |w|. Stop it,
and the same command goes on where it was. Curves and tables go to `results/shared_rows/`.
"""

from __future__ import annotations

from common import main
from jobs import Study, Variant
from rnm_td3 import INTERVAL, tiny

SEEDS = (0, 1, 2, 3, 4)


def shared(pattern: str) -> Variant:
    """RNM with such a pattern, N:M or N:MxV."""
    options = ("--method", "rnm", "--pattern", pattern, "--interval", str(INTERVAL))
    return Variant(f"rnm-{pattern.replace(':', '-')}", options)


def study(env: str) -> Study:
    patterns = ("1:8", "1:8x4", "1:8x8", "1:8x16", "1:4x4")
    return Study(env, SEEDS, (*map(shared, patterns), tiny(env, 1, 8)))


if __name__ == "__main__":
    main(__doc__, "shared_rows", {"halfcheetah": study("HalfCheetah-v5"), "ant": study("Ant-v5")})
