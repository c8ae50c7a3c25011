"""Rows that share their choice: 1:8 with V neighbouring rows that keep the same columns.

    python recipes/shared_rows.py                               # both studies, in order
    python recipes/shared_rows.py --studies halfcheetah --jobs 2

Studies, five seeds each, TD3 as in `rnm_td3.py`; they are files in `recipes/studies/`:

    halfcheetah   HalfCheetah-v5: 1:8 with V = 1, 4, 8, 16, 1:4 with V = 4, and *tiny*: the dense
                  agent with as many stored weights as 1:8
    ant           the same on Ant-v5

The selection alone differs from RNM's: columns are chosen by the sum over V rows of |w|. Stop it,
and the same command goes on where it was. Curves and tables go to `results/shared_rows/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "shared_rows", ("halfcheetah", "ant"))
