"""Dynamic sparse training beside its controls, with TD3 and SAC at equal settings.

    python recipes/dst.py                                        # every study, in order
    python recipes/dst.py --studies halfcheetah-90 --seeds 0 1   # a part of it
    python recipes/dst.py --only dense static-90                 # some of its variants
    python recipes/speeds.py dst/halfcheetah-90                  # steps/s of each, for the tables

Studies, in this order; they are files in `recipes/studies/`:

    halfcheetah-90  HalfCheetah-v5, 90 % of the weights of actor and critics left out: static, SET,
                    RigL, RLx2's topology, gradual magnitude pruning, dense, and *tiny*: a dense
                    agent with as many weights, the control that sparsity has to beat
    walker2d-90     the same on Walker2d-v5
    tried           other settings at 90 % on HalfCheetah-v5: kept weights scaled up at the start,
                    neighbouring neurons that keep the same inputs
    ds-td3          DS-TD3 as its paper has it, about 50 %, beside a dense agent with the same
                    learning rate, weight decay and batch, and *tiny* with them
    halfcheetah-95  HalfCheetah-v5 at 95 %
    sac-90          SET (DS-SAC), RigL and static beside dense, with SAC

Stop it, and the same command goes on where it was. Curves, tables and plots of what is done go to
`results/dst/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    studies = ("halfcheetah-90", "walker2d-90", "tried", "ds-td3", "halfcheetah-95", "sac-90")
    main(__doc__, "dst", studies, shared={"halfcheetah-95": "halfcheetah-90"})
