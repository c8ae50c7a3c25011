"""Dynamic sparse training beside its controls, with TD3 at equal settings.

    python recipes/dst.py                                        # every study, in order
    python recipes/dst.py --studies halfcheetah-90 --seeds 0 1   # a part of it
    python recipes/dst.py --only dense static-90                 # some of its variants
    python recipes/dst.py --speeds                               # steps/s of each, for the tables

Studies, in this order:

    halfcheetah-90  HalfCheetah-v5, 90 % of the weights of actor and critics left out: static, SET,
                    RigL, RLx2's topology, gradual magnitude pruning, dense, and *tiny*: a dense
                    agent with as many weights, the control that sparsity has to beat
    walker2d-90     the same on Walker2d-v5
    ds-td3          DS-TD3 as its paper has it, about 50 %, beside a dense agent with the same
                    learning rate, weight decay and batch
    halfcheetah-95  HalfCheetah-v5 at 95 %

One run on each core at a time. Stop it, and the same command goes on where it was. Curves, tables
and plots of what is done go to `results/dst/`.
"""

from __future__ import annotations

import gymnasium as gym
from common import Studies, Variant, main, width_for

HIDDEN = 256
DENSE = Variant("dense", ("--method", "dense"))
PAPER = ("--learning-rate", "1e-3", "--weight-decay", "2e-4", "--batch-size", "100")
"""Of DS-TD3 (2106.04217), for its dense baseline too."""
DS_TD3 = (
    *("--method", "set", "--lambdas", "7", "64", "--interval", "1000", "--drop-fraction", "0.05"),
    *("--drop", "signs", "--until", "0.925", "--last-drop", "--no-keep-norm"),
)


def sparse(method: str, percent: int) -> Variant:
    sparsity = str(percent / 100)
    return Variant(f"{method}-{percent}", ("--method", method, "--sparsity", sparsity))


def tiny(env: str, percent: int) -> Variant:
    """The dense agent of the smallest width with at least as many weights."""
    made = gym.make(env)
    observation, action = made.observation_space.shape[0], made.action_space.shape[0]
    # One actor and two critics: inputs and outputs of all three.
    ends = (observation + action) + 2 * (observation + action + 1)
    stored = (3 * HIDDEN**2 + ends * HIDDEN) * (100 - percent) // 100
    width = str(width_for(stored, ends, networks=3))
    return Variant(f"tiny-{percent}", ("--method", "dense", "--hidden", width, width))


def at(env: str, percent: int, *methods: str) -> list[Variant]:
    return [*(sparse(method, percent) for method in methods), tiny(env, percent), DENSE]


def studies() -> Studies:
    cheetah, walker = "HalfCheetah-v5", "Walker2d-v5"
    methods = ("set", "static", "rigl", "magnitude", "rlx2")
    return {
        "halfcheetah-90": (cheetah, (0, 1), at(cheetah, 90, *methods)),
        "walker2d-90": (walker, (0, 1), at(walker, 90, *methods)),
        "ds-td3": (
            cheetah,
            (0, 1),
            [Variant("ds-td3", DS_TD3 + PAPER), Variant("dense-as-ds-td3", DENSE.options + PAPER)],
        ),
        "halfcheetah-95": (cheetah, (0, 1), at(cheetah, 95, "set", "static", "rigl", "magnitude")),
    }


if __name__ == "__main__":
    main(__doc__, "dst", studies())
