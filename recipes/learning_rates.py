"""Learning rates of CrossQ and TD3: dense, 1:8, and *tiny*, dense with as many weights as 1:8.

    python recipes/learning_rates.py
    python recipes/learning_rates.py --studies ant --only tiny-1e-3

Studies; they are files in `recipes/studies/`:

    halfcheetah  CrossQ, HalfCheetah-v5, 50,000 steps: 1e-4, 3e-4, 1e-3 and 3e-3 for each of the
                 three, and 1:8 by density (SµPar), too
    ant          CrossQ, Ant-v5, 200,000 steps, the preset at 3e-4 and 1e-3: whether *tiny*, which
                 is far behind 1:8 there at 3e-3, only has the wrong rate
    td3          TD3, HalfCheetah-v5, 300,000 steps at 1e-3 and 3e-3; at 3e-4 they are
                 `rnm_td3.py`'s
    td3-walker2d, td3-hopper
                 TD3, Walker2d-v5 and Hopper-v5, 300,000 steps at 3e-4 and 1e-3

Stop it, and the same command goes on where it was. Curves and tables go to
`results/learning_rates/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "learning_rates", ("halfcheetah", "ant", "td3", "td3-walker2d", "td3-hopper"))
