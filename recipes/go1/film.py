"""A film of a trained Go1 that is told to walk ahead, to go sideways and to turn.

    python recipes/go1/film.py runs/go1-any results/go1/any.gif

It needs OpenGL: without a screen `MUJOCO_GL=egl`, or `osmesa`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from environment import SUBSTEPS, TIMESTEP, Go1
from gate import COMMANDS
from numpy.typing import NDArray

import sparl
from sparl.analysis.film_file import gif_within, shrunk

SECONDS, EVERY, WIDTH, BYTES = 2.5, 5, 320, 2_500_000
"""Of each command; steps for a frame; pixels per row; the most bytes."""


def frames(run: Path) -> Iterator[NDArray[np.uint8]]:
    """Pictures of one episode in which it is told one command after the other."""
    policy = sparl.load(run, trust=True)
    env = Go1("any", render_mode="rgb_array")
    commands = [np.array(command) for command in COMMANDS["any"].values()]
    env.fixed_command = commands[0]
    seen, _ = env.reset(seed=0)
    for command in commands:
        env.fixed_command = env.command = command
        for step in range(round(SECONDS / SUBSTEPS / TIMESTEP)):
            seen, _, fallen, _, _ = env.step(policy.predict(seen)[0])
            if fallen:
                raise SystemExit(f"{run} falls where it is told {command}: it is not trained yet")
            if step % EVERY == 0:
                yield env.render()
    env.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder, or a policy")
    parser.add_argument("film", type=Path, help="the GIF to write")
    asked = parser.parse_args()
    rate = 1 / (SUBSTEPS * TIMESTEP * EVERY)
    made = [shrunk(frame, WIDTH) for frame in frames(asked.run)]
    asked.film.write_bytes(gif_within(made, rate, BYTES))


if __name__ == "__main__":
    main()
