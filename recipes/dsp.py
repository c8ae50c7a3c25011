"""DSP, dynamic structured pruning, beside what it has to beat, at equal settings.

    python recipes/dsp.py                                # every study, in order
    python recipes/dsp.py --studies cartpole --seeds 0   # a part of it

In every study: dense; DSP; *tiny*, a dense agent that has from the start the widths, of actor and
critics, that DSP with the same seed came to; *magnitude*, which cuts the neurons of smallest norm,
without the penalty; and *no-gate*, DSP that prunes whatever the return does. They are files in
`recipes/studies/`, but for *tiny*, which follows where runs of DSP are done:

    cartpole         CartPole-v1, DQN, 5 seeds: soon learned, so neurons go early, pulled hard
    cartpole-longer  the same pruning, and as many steps again; without magnitude and no-gate
    lunarlander      LunarLander-v3, DQN of 2x384, 5 seeds
    highway          highway-fast-v0, DQN, 5 seeds: driving, short (`pip install ".[envs]"`)
    hopper           Hopper-v5, TD3, 2 seeds
    walker2d         Walker2d-v5, TD3, 2 seeds

Stop it, and the same command goes on where it was. Curves, tables and plots of what is done go to
`results/dsp/`, with the mean return of every final policy over 100 more episodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from final_policies import play
from swept import Content, main

from sparl.storage import RunFolder
from sparl.training import snapshot

Widths = tuple[int, ...]


def tiny(study: Content, done: Sequence[Path]) -> Iterator[Content]:
    """Studies of *tiny*: one for all seeds with which DSP came to the same widths."""
    seeds: dict[tuple[Widths, Widths], list[int]] = defaultdict(list)
    for run in done:
        variant, _, seed = run.name.rpartition("-")
        if variant == "dsp":
            seeds[widths(run)].append(int(seed))
    for (acting, critics), found in seeds.items():
        options = {"hidden": acting} | ({"critic_hidden": critics} if critics else {})
        yield study | {"variants": {"tiny": options}, "seeds": found}


def widths(run: Path) -> tuple[Widths, Widths]:
    """The hidden widths of what acts, and of the critics, that a run came to.

    Of two critics the wider one counts, layer by layer. DQN has none.
    """
    shapes = snapshot(RunFolder.open(run))[0].shapes
    hidden = {name: [out for out, _ in layers[:-1]] for name, layers in shapes.items()}
    acting = hidden.pop("actor" if "actor" in hidden else "q")
    return tuple(acting), tuple(max(layer) for layer in zip(*hidden.values(), strict=True))


if __name__ == "__main__":
    studies = ("cartpole", "cartpole-longer", "lunarlander", "highway", "hopper", "walker2d")
    main(__doc__, "dsp", studies, controls=tiny, after=play)
