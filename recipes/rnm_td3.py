"""RNM-TD3 beside dense TD3 at equal steps, learning rate, batch and evaluation (2602.14578).

    python recipes/rnm_td3.py                                   # the whole study, in order
    python recipes/rnm_td3.py --studies patterns --seeds 0 1    # a part of it
    python recipes/rnm_td3.py --only dense tiny-1-8             # some of its variants
    python recipes/speeds.py rnm_td3/patterns                   # steps/s of each, for the tables

Studies, in this order; they are files in `recipes/studies/`:

    patterns    HalfCheetah-v5: 1:8, 1:4, 2:4, dense, and for each pattern the *tiny* dense agent
                with as many stored weights, the control that sparsity has to beat
    intervals   HalfCheetah-v5 at 1:8: masks updated every 1, 100, 1000, 10000 updates and never
    ant         Ant-v5: 2:4, 1:8, dense, tiny
    layers      HalfCheetah-v5: every layer sparse, beside hidden layers only

Stop it, and the same command goes on where it was. Curves, tables and plots of what is done go to
`results/rnm_td3/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    shared = {"intervals": "patterns", "layers": "patterns"}
    main(__doc__, "rnm_td3", ("patterns", "intervals", "ant", "layers"), shared=shared)
