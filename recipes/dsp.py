"""DSP, dynamic structured pruning, beside what it has to beat, at equal settings.

    python recipes/dsp.py                                # every study, in order
    python recipes/dsp.py --studies cartpole --seeds 0   # a part of it

In every study: dense; DSP; *tiny*, a dense agent that has from the start the widths, of actor and
critics, that DSP with the same seed came to; *magnitude*, which cuts the neurons of smallest norm,
without the penalty; and *no-gate*, DSP that prunes whatever the return does.

    cartpole     CartPole-v1, DQN, 5 seeds
    lunarlander  LunarLander-v3, DQN, 5 seeds
    highway      highway-fast-v0, DQN, 5 seeds: driving, short (`pip install ".[envs]"`)
    hopper       Hopper-v5, TD3, 2 seeds
    walker2d     Walker2d-v5, TD3, 2 seeds

One run on each core at a time. Stop it, and the same command goes on where it was. Curves, tables
and plots of what is done go to `results/dsp/`, with the mean return of every final policy over 100
more episodes.
"""

from __future__ import annotations

from common import main
from jobs import Study, Variant
from records import play

DSP = ("--method", "dsp")
VARIANTS = (
    Variant("dsp", DSP),
    Variant("dense", ("--method", "dense")),
    Variant("tiny", ("--method", "dense"), shape_of="dsp"),
    Variant("magnitude", (*DSP, "--importance", "magnitude", "--penalty", "0")),
    Variant("no-gate", (*DSP, "--tolerance", "1")),
)
DQN = ("--agent", "dqn", "--eval-every", "5000")
FIVE, TWO = (0, 1, 2, 3, 4), (0, 1)


def studies() -> dict[str, Study]:
    three_steps = (*DQN, "--n-step", "3", "--learning-rate", "2.5e-4")
    one_step = (*DQN, "--learning-rate", "5e-4")
    return {
        "cartpole": Study("CartPole-v1", FIVE, VARIANTS, 100_000, three_steps),
        "lunarlander": Study("LunarLander-v3", FIVE, VARIANTS, 300_000, one_step),
        "highway": Study("highway_env:highway-fast-v0", FIVE, VARIANTS, 20_000, one_step),
        "hopper": Study("Hopper-v5", TWO, VARIANTS),
        "walker2d": Study("Walker2d-v5", TWO, VARIANTS),
    }


if __name__ == "__main__":
    for results, done in main(__doc__, "dsp", studies()):
        play(results, done)
