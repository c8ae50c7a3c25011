"""GST, block-circulant weights pruned while the return holds, beside iterative pruning.

    python recipes/gst.py                                # every study, in order
    python recipes/gst.py --studies halfcheetah --seeds 0
    python recipes/speeds.py gst/halfcheetah             # steps/s of each, for the tables

In every study, at equal settings and the same final sparsity: dense; iterative pruning, the
paper's baseline; GST; *no-grouping*, GST with every weight stored for itself; and *no-gate*, GST
whose target goes up whatever the return does. *ungrouped* is GST that goes over to single entries
at its first look at the return, 78 % of them pruned. What the paper is about is the average
compression ratio, over all updates from the first. Studies are files in `recipes/studies/`:

    halfcheetah  HalfCheetah-v5, TD3, 2 seeds, 300,000 steps
    humanoid     Humanoid-v5, TD3, 2 seeds, 100,000 steps

Stop it, and the same command goes on where it was. Curves, tables and plots of what is done go to
`results/gst/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "gst", ("halfcheetah", "humanoid"))
