"""Our CrossQ beside SBX's, at equal widths.

    python recipes/crossq_peers.py                                     # ours
    sbx/bin/python recipes/sbx_crossq.py --env Walker2d-v5 --seed 0    # theirs: see there

Walker2d-v5 and HalfCheetah-v5, 100,000 steps, three seeds each, 2x256 in actor and critics, SBX's
learning rate of 1e-3; the studies are files in `recipes/studies/`:

    dense        as SBX's, but for renormalisation from the first update on
    rnm-1-8      the hidden layer of both critics at 1:8

Stop it, and the same command goes on where it was. Curves and tables go to
`results/crossq_peers/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "crossq_peers", ("walker2d", "halfcheetah"))
