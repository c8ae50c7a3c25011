"""How few inputs a neuron of a first layer may keep: `least_inputs` of `--sparse-layers auto`.

    python recipes/first_layers.py

CrossQ on HalfCheetah-v5, 50,000 steps, seeds 0 and 1. Critics are 2x256 with their hidden layer at
1:8; of the 23 inputs (17 of observations, 6 of actions) a neuron of the first layer keeps

    all-23          all
    keeps-12        1:2
    keeps-8, -6     1:3, 1:4
    keeps-3         1:8

The actor is dense. Stop it, and the same command goes on where it was. Curves and tables go to
`results/first_layers/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "first_layers", ("halfcheetah",))
