"""Learning rates of CrossQ: dense, 1:8, and *tiny*, dense with as many weights as 1:8.

    python recipes/learning_rates.py
    python recipes/learning_rates.py --studies ant --only tiny-1e-3

Studies; they are files in `recipes/studies/`:

    halfcheetah  HalfCheetah-v5, 50,000 steps: 1e-4, 3e-4, 1e-3 and 3e-3 for each of the three, and
                 1:8 by density (SµPar), too
    ant          Ant-v5, 200,000 steps, the preset at 3e-4 and 1e-3: whether *tiny*, which is far
                 behind 1:8 there at 3e-3, only has the wrong rate

Stop it, and the same command goes on where it was. Curves and tables go to
`results/learning_rates/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "learning_rates", ("halfcheetah", "ant"))
