"""GST, block-circulant weights pruned while the return holds, beside iterative pruning.

    python recipes/gst.py                                # every study, in order
    python recipes/gst.py --studies halfcheetah --seeds 0
    python recipes/gst.py --speeds                       # steps/s of each, for the tables

In every study, at equal settings and the same final sparsity: dense; iterative pruning, the
paper's baseline; GST; *no-grouping*, GST with every weight stored for itself; and *no-gate*, GST
whose target goes up whatever the return does. *ungrouped* is GST that goes over to single entries
at its first look at the return, 78 % of them pruned. What the paper is about is the average
compression ratio, over all updates from the first.

    halfcheetah  HalfCheetah-v5, TD3, 2 seeds, 300,000 steps
    humanoid     Humanoid-v5, TD3, 2 seeds, 100,000 steps

One run on each core at a time. Stop it, and the same command goes on where it was. Curves, tables
and plots of what is done go to `results/gst/`.
"""

from __future__ import annotations

from common import main
from jobs import Study, Variant

SPARSITY = ("--sparsity", "0.6")
GST = ("--method", "gst", *SPARSITY)
AT_ONCE = ("--sparsity", "0.78", "--increment", "0.78")
VARIANTS = (
    Variant("gst", GST),
    Variant("iterative", ("--method", "iterative", *SPARSITY)),
    Variant("dense", ("--method", "dense")),
    Variant("no-grouping", (*GST, "--group", "1")),
    Variant("no-gate", (*GST, "--tolerance", "1")),
    Variant("ungrouped", ("--method", "gst", "--ungroup", *AT_ONCE)),
)
TWO = (0, 1)


def studies() -> dict[str, Study]:
    return {
        "halfcheetah": Study("HalfCheetah-v5", TWO, VARIANTS),
        "humanoid": Study("Humanoid-v5", TWO, VARIANTS, 100_000),
    }


if __name__ == "__main__":
    main(__doc__, "gst", studies())
