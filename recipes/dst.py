"""Dynamic sparse training beside its controls, with TD3 and SAC at equal settings.

    python recipes/dst.py                                        # every study, in order
    python recipes/dst.py --studies halfcheetah-90 --seeds 0 1   # a part of it
    python recipes/dst.py --only dense static-90                 # some of its variants
    python recipes/dst.py --speeds                               # steps/s of each, for the tables

Studies, in this order:

    halfcheetah-90  HalfCheetah-v5, 90 % of the weights of actor and critics left out: static, SET,
                    RigL, RLx2's topology, gradual magnitude pruning, dense, and *tiny*: a dense
                    agent with as many weights, the control that sparsity has to beat
    walker2d-90     the same on Walker2d-v5
    tried           other settings at 90 % on HalfCheetah-v5: kept weights scaled up at the start
    ds-td3          DS-TD3 as its paper has it, about 50 %, beside a dense agent with the same
                    learning rate, weight decay and batch
    halfcheetah-95  HalfCheetah-v5 at 95 %
    sac-90          SET (DS-SAC), RigL and static beside dense, with SAC

One run on each core at a time. Stop it, and the same command goes on where it was. Curves, tables
and plots of what is done go to `results/dst/`.
"""

from __future__ import annotations

import gymnasium as gym
from common import main
from jobs import Study, Variant, sparse, width_for

HIDDEN = 256
DENSE = Variant("dense", ("--method", "dense"))
PAPER = ("--learning-rate", "1e-3", "--weight-decay", "2e-4", "--batch-size", "100")
"""Of DS-TD3 (2106.04217), for its dense baseline too."""
SAC = ("--agent", "sac")
SCALED = "-keep-norm"
"""Weights kept at the start are scaled up to the norm of their layer."""
MORE = ("--drop", "magnitude", "--drop-fraction", "0.3", "--interval", "5000")
TRIED = (
    *(sparse(m, 90, "--keep-norm", called=SCALED) for m in ("set", "rigl", "static", "rlx2")),
    sparse("set", 90, "--keep-norm", *MORE, called=f"{SCALED}-magnitude-30"),
)
DS_TD3 = (
    *("--method", "set", "--lambdas", "7", "64", "--interval", "1000", "--drop-fraction", "0.05"),
    *("--drop", "signs", "--until", "0.925", "--last-drop"),
)


def tiny(env: str, percent: int) -> Variant:
    """The dense agent of the smallest width with at least as many weights."""
    made = gym.make(env)
    observation, action = made.observation_space.shape[0], made.action_space.shape[0]
    # One actor and two critics: inputs and outputs of all three.
    ends = (observation + action) + 2 * (observation + action + 1)
    stored = (3 * HIDDEN**2 + ends * HIDDEN) * (100 - percent) // 100
    width = str(width_for(stored, ends, networks=3))
    return Variant(f"tiny-{percent}", ("--method", "dense", "--hidden", width, width))


def at(env: str, percent: int, *methods: str) -> tuple[Variant, ...]:
    return (*(sparse(method, percent) for method in methods), tiny(env, percent), DENSE)


def studies() -> dict[str, Study]:
    cheetah, walker, seeds = "HalfCheetah-v5", "Walker2d-v5", (0, 1)
    methods = ("set", "static", "rigl", "magnitude", "rlx2")
    recipe = (Variant("ds-td3", DS_TD3), Variant("dense-as-ds-td3", DENSE.options))
    return {
        "halfcheetah-90": Study(cheetah, seeds, at(cheetah, 90, *methods)),
        "walker2d-90": Study(walker, seeds, at(walker, 90, *methods)),
        "tried": Study(cheetah, seeds, TRIED),
        "ds-td3": Study(cheetah, seeds, recipe, common=PAPER),
        "halfcheetah-95": Study(
            cheetah, seeds, at(cheetah, 95, "set", "static", "rigl", "magnitude")
        ),
        "sac-90": Study(
            cheetah, seeds, (*(sparse(m, 90) for m in ("set", "rigl", "static")), DENSE), common=SAC
        ),
    }


if __name__ == "__main__":
    main(__doc__, "dst", studies())
