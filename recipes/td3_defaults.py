"""TD3's defaults: its learning rate, and the random steps before it learns.

    python recipes/td3_defaults.py
    python recipes/td3_defaults.py --studies rates-hopper --only dense-1e-3

Studies; they are files in `recipes/studies/`. Those of rates have dense, sparse, and *tiny*, dense
with as many weights as the sparse one:

    rates-halfcheetah  HalfCheetah-v5, 300,000 steps at 1e-3 and 3e-3; at 3e-4 they are
                       `rnm_td3.py`'s
    rates-walker2d     Walker2d-v5, 300,000 steps at 3e-4 and 1e-3
    rates-hopper       Hopper-v5, the same
    starts-halfcheetah, starts-hopper
                       1:8 at 1e-3, 100,000 steps, of which the first 5,000, 10,000 or 25,000 are
                       random

Stop it, and the same command goes on where it was. Curves and tables go to
`results/td3_defaults/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    rates = "rates-halfcheetah", "rates-walker2d", "rates-hopper"
    main(__doc__, "td3_defaults", (*rates, "starts-halfcheetah", "starts-hopper"))
