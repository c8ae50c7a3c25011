"""Larger networks, dense and sparse, against steps and against seconds.

    python recipes/larger_networks.py                              # both environments, in order
    python recipes/larger_networks.py --studies halfcheetah --seeds 0

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
ones on OFENet make 200,000. Where `--speeds` has measured how fast each is, `clock.csv` has the
returns of all after equal times.

One run on each core at a time. Stop it, and the same command goes on where it was. Curves, tables
and plots of what is done go to `results/larger_networks/`.
"""

from __future__ import annotations

from common import main
from drawing import clock
from figures import make
from jobs import Study, Variant

RNM = ("--method", "rnm", "--pattern", "1:8")
SPARSER = ("--method", "rnm", "--pattern", "1:16")
STATIC = ("--method", "static", "--sparsity", "0.9", "--keep-norm")
WIDE = ("--hidden", "512", "512")
SIMBA = (
    *("--network", "simba", "--hidden", "128", "--critic-hidden", "128", "128"),
    *("--learning-rate", "1e-4", "--decoupled-weight-decay", "1e-2", "--normalize-observations"),
)


def variants(targets: int) -> tuple[Variant, ...]:
    """`targets`: components of an observation that the representation predicts, 0 for all."""
    blocks = ("--representation", "ofenet", "--representation-targets", str(targets))
    densenet = ("--network", "densenet", "--activation", "swish", *WIDE, *blocks)
    return (
        Variant("mlp-256", ()),
        Variant("mlp-512-rnm", (*WIDE, *RNM)),
        Variant("mlp-512-static", (*WIDE, *STATIC)),
        Variant("densenet", densenet),
        Variant("densenet-rnm", (*densenet, *RNM)),
        Variant("densenet-rnm-16", (*densenet, *SPARSER)),
        Variant("mlp-512-ofenet-rnm-16", (*WIDE, *blocks, *SPARSER)),
        Variant("mlp-256-ofenet", blocks),
        Variant("simba", SIMBA),
        Variant("simba-rnm", (*SIMBA, *RNM)),
        Variant("mlp-512", WIDE),
        Variant("mlp-1024-rnm", ("--hidden", "1024", "1024", *RNM)),
    )


def studies() -> dict[str, Study]:
    common = ("--agent", "sac")
    cheetah = variants(0)  # 17 components in all
    ant = variants(27)  # the paper leaves contact forces out
    longer = Variant(clock.LONGER, (), 1_000_000)
    on_ofenet = tuple(v for v in cheetah if "--representation" in v.options)
    return {
        "halfcheetah": Study("HalfCheetah-v5", (0, 1), cheetah, 200_000, common),
        "halfcheetah-clock": Study("HalfCheetah-v5", (0, 1), (longer, *on_ofenet), 200_000, common),
        "ant": Study("Ant-v5", (0, 1), ant, 200_000, common),
    }


if __name__ == "__main__":
    for folder, _ in main(__doc__, "larger_networks", studies()):
        if folder.name == "halfcheetah-clock":
            make(clock.outputs(folder))
