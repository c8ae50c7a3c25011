"""DSP, dynamic structured pruning, beside what it has to beat, at equal settings.

    python recipes/dsp.py                                # every study, in order
    python recipes/dsp.py --studies cartpole --seeds 0   # a part of it

In every study: dense; DSP; *tiny*, a dense agent that has from the start the widths, of actor and
critics, that DSP with the same seed came to; *magnitude*, which cuts the neurons of smallest norm,
without the penalty; and *no-gate*, DSP that prunes whatever the return does.

    cartpole     CartPole-v1, DQN, 5 seeds: soon learned, so neurons go early and are pulled hard
    lunarlander  LunarLander-v3, DQN of 2x384, 5 seeds
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

DQN = ("--agent", "dqn", "--eval-every", "5000")
FIVE, TWO = (0, 1, 2, 3, 4), (0, 1)


def variants(*options: str, penalty: str = "0.01", tolerance: str = "0.2") -> tuple[Variant, ...]:
    dsp = ("--method", "dsp", *options)
    pull, gate = ("--penalty", penalty), ("--tolerance", tolerance)
    by_norm = ("--importance", "magnitude", "--penalty", "0")
    return (
        Variant("dsp", (*dsp, *pull, *gate)),
        Variant("dense", ("--method", "dense")),
        Variant("tiny", ("--method", "dense"), shape_of="dsp"),
        Variant("magnitude", (*dsp, *by_norm, *gate)),
        Variant("no-gate", (*dsp, *pull, "--tolerance", "1")),
    )


def studies() -> dict[str, Study]:
    early = variants("--begin", "0.2", "--end", "0.8", penalty="0.1", tolerance="0.1")
    three_steps = (*DQN, "--n-step", "3", "--learning-rate", "2.5e-4")
    one_step = (*DQN, "--learning-rate", "5e-4")
    late = variants("--begin", "0.25", "--end", "0.8", "--floor", "0.05", tolerance="0.15")
    # Returns of training swing by half where a fall ends an episode: a gate as tight would be shut.
    falling = variants("--begin", "0.3", "--end", "0.85", "--floor", "0.08", tolerance="0.5")
    wider = (*DQN, "--learning-rate", "2.5e-4", "--hidden", "384", "384")
    return {
        "cartpole": Study("CartPole-v1", FIVE, early, 100_000, three_steps),
        "lunarlander": Study("LunarLander-v3", FIVE, late, 300_000, wider),
        "highway": Study("highway_env:highway-fast-v0", FIVE, variants(), 20_000, one_step),
        "hopper": Study("Hopper-v5", TWO, falling),
        "walker2d": Study("Walker2d-v5", TWO, falling),
    }


if __name__ == "__main__":
    for results, done in main(__doc__, "dsp", studies()):
        play(results, done)
