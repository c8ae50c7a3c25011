"""Larger networks, dense and sparse, against steps and against seconds.

    python recipes/larger_networks.py                              # both environments, in order
    python recipes/larger_networks.py --studies halfcheetah --seeds 0
    python recipes/speeds.py larger_networks/halfcheetah-clock     # steps/s, for the clock

SAC everywhere, with the same learning rate (but for SimBa, which has its paper's), batch and
evaluation. What is compared, at equal steps:

    mlp-256                dense 2x256, the field's: what a larger one has to beat
    mlp-512                dense 2x512
    mlp-512-rnm, -static   the same at 1:8, and at 90 % sparsity, static
    mlp-1024-rnm           2x1024 at 1:8
    densenet, -rnm         2x512, swish, on a representation (OFENet), dense and at 1:8
    densenet-rnm-16        the same at 1:16
    mlp-512-ofenet-rnm-16  2x512 on OFENet, at 1:16
    mlp-256-ofenet         dense 2x256 on OFENet: how much is the representation's
    simba, -rnm            actor 128 x 1, critics 128 x 2 (512 x 2 in its paper, with which a dense
                           run would take half a day), with its paper's optimizer

And by the clock (`halfcheetah-clock`): dense 2x256 for as many steps as it makes while the sparse
ones on OFENet make 200,000. By the steps per second of `recipes/speeds.py`, `clock.csv` has the
returns of all after equal times.

Studies are files in `recipes/studies/`. Stop it, and the same command goes on where it was. Curves,
tables and plots of what is done go to `results/larger_networks/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drawing import clock
from figures import make
from swept import main

CLOCK = "halfcheetah-clock"


def by_the_clock(results: Path, done: Sequence[Path]) -> None:
    """Makes the table of returns after equal times."""
    if results.name == CLOCK:
        make(clock.outputs(results))


if __name__ == "__main__":
    studies, shared = ("halfcheetah", CLOCK, "ant"), {CLOCK: "halfcheetah"}
    main(__doc__, "larger_networks", studies, shared=shared, after=by_the_clock)
