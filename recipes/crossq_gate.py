"""The gate before wide critics: CrossQ's critics, dense and 1:8, of 256 and of 512.

    python recipes/crossq_gate.py                       # the whole study, in order
    python recipes/crossq_gate.py --seeds 0             # a part of it
    python recipes/crossq_gate.py --only dense tiny     # some of its variants

Walker2d-v5, 100,000 steps, seeds 0 and 1. The actor is 2x256 and dense in all of them:

    dense, dense-512                 dense critics of 256 and of 512
    rnm-1-8-of-512, rnm-1-8-of-256   1:8 in the hidden layer of both critics, every 1,000 updates
                                     chosen anew
    tiny                             dense critics with as many weights as those 1:8 of 256

Level means: the mean of the last three evaluations is within 10 % of that of dense, in both
seeds; what is printed last says it (the table's final return is the mean of ten evaluations, here
the whole curve). Stop it, and the same command goes on where it was. Curves and tables go to
`results/crossq_gate/`.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import gymnasium as gym
from common import main
from jobs import Job, Study, Variant, width_for
from records import curve

ENV, HIDDEN, INTERVAL = "Walker2d-v5", 256, 1000


def critics(width: int) -> tuple[str, ...]:
    return ("--critic-hidden", str(width), str(width))


def dense(width: int) -> Variant:
    name = "dense" if width == HIDDEN else f"dense-{width}"
    return Variant(name, ("--method", "dense", *critics(width)))


def sparse(width: int) -> Variant:
    options = ("--method", "rnm", "--pattern", "1:8", "--interval", str(INTERVAL))
    actor = ("--actor-pattern", "none")
    return Variant(f"rnm-1-8-of-{width}", (*options, *actor, *critics(width)))


def tiny() -> Variant:
    """Dense critics of the smallest width with at least the weights of two 1:8 of 256."""
    made = gym.make(ENV)
    observation, action = made.observation_space.shape, made.action_space.shape
    assert observation is not None and action is not None
    ends = 2 * (observation[0] + action[0] + 1)
    width = width_for(2 * HIDDEN**2 // 8 + ends * HIDDEN, ends, networks=2)
    return Variant("tiny", ("--method", "dense", *critics(width)))


def study() -> Study:
    variants = (dense(256), sparse(512), dense(512), sparse(256), tiny())
    options = ("--agent", "crossq", "--hidden", str(HIDDEN), str(HIDDEN))
    return Study(ENV, (0, 1), variants, 100_000, (*options, "--eval-every", "10000"))


def verdicts(done: dict[Job, Path]) -> list[str]:
    """Of each run the mean of the last three evaluations, and its share of that of dense."""
    last = {job: fmean(value for _, value in curve(folder)[-3:]) for job, folder in done.items()}
    dense = {job.seed: value for job, value in last.items() if job.variant.name == "dense"}
    return [
        f"{job.variant.name}, seed {job.seed}: {value:.0f}"
        + (f", {value / dense[job.seed]:.2f} of dense" if job.seed in dense else "")
        for job, value in last.items()
    ]


if __name__ == "__main__":
    for _, runs_done in main(__doc__, "crossq_gate", {"walker2d": study()}):
        print("\n".join(verdicts(runs_done)))
