"""RNM-TD3 beside dense TD3 at equal steps, learning rate, batch and evaluation (2602.14578).

    python recipes/rnm_td3.py                                   # the whole study, in order
    python recipes/rnm_td3.py --studies patterns --seeds 0 1    # a part of it
    python recipes/rnm_td3.py --only dense tiny-1-8             # some of its variants
    python recipes/rnm_td3.py --speeds                          # steps/s of each, for the tables

Studies, in this order:

    patterns    HalfCheetah-v5: 1:8, 1:4, 2:4, dense, and for each pattern the *tiny* dense agent
                with as many stored weights, the control that sparsity has to beat
    intervals   HalfCheetah-v5 at 1:8: masks updated every 1, 100, 1000, 10000 updates and never
    ant         Ant-v5: 2:4, 1:8, dense, tiny
    layers      HalfCheetah-v5: every layer sparse, beside hidden layers only

One run on each core at a time. Stop it, and the same command goes on where it was. Curves, tables
and plots of what is done go to `results/rnm_td3/`.
"""

from __future__ import annotations

import gymnasium as gym
from common import main
from jobs import Study, Variant, width_for

HIDDEN = 256
PATTERNS = ((1, 8), (1, 4), (2, 4))
INTERVAL = 1000
"""Updates between two choices of the masks where the study is not about them."""


def rnm(n: int, m: int, interval: int = INTERVAL, layers: str = "hidden") -> Variant:
    suffix = "" if layers == "hidden" else f"-{layers}"
    return Variant(
        f"rnm-{n}-{m}-every-{interval}{suffix}",
        ("--method", "rnm", "--pattern", f"{n}:{m}", "--interval", str(interval))
        + (("--sparse-layers", layers) if suffix else ()),
    )


def tiny(env: str, n: int, m: int) -> Variant:
    """The dense agent of the smallest width with at least the weights that n:m stores."""
    made = gym.make(env)
    observation, action = made.observation_space.shape[0], made.action_space.shape[0]
    # One actor and two critics: inputs and outputs of all three.
    ends = (observation + action) + 2 * (observation + action + 1)
    width = width_for(3 * HIDDEN**2 * n // m + ends * HIDDEN, ends, networks=3)
    return Variant(f"tiny-{n}-{m}", ("--method", "dense", "--hidden", str(width), str(width)))


DENSE = Variant("dense", ("--method", "dense"))


def studies() -> dict[str, Study]:
    cheetah, ant = "HalfCheetah-v5", "Ant-v5"
    beside = [f(*p) for p in ((1, 8), (2, 4)) for f in (rnm, lambda n, m: tiny(ant, n, m))]
    return {
        "patterns": Study(
            cheetah,
            (0, 1, 2),
            (*(rnm(*p) for p in PATTERNS), DENSE, *(tiny(cheetah, *p) for p in PATTERNS)),
        ),
        "intervals": Study(
            cheetah, (0, 1), tuple(rnm(1, 8, interval) for interval in (10000, 1000, 100, 0, 1))
        ),
        "ant": Study(ant, (0, 1), (DENSE, *beside)),
        "layers": Study(
            cheetah,
            (0, 1),
            tuple(rnm(*p, layers=layers) for p in PATTERNS for layers in ("all", "hidden")),
        ),
    }


if __name__ == "__main__":
    main(__doc__, "rnm_td3", studies())
