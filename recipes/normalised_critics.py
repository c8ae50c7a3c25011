"""Normalised critics beside those of `crossq_gate.py`: XQC's, and CrossQ's with a small actor.

    python recipes/normalised_critics.py --jobs 2

The studies are files in `recipes/studies/`. Walker2d-v5, 100,000 steps, seeds 0 and 1:

    xqc-rnm-1-8, xqc-dense            XQC with two layers of 256 in actor and critics; the critics'
                                      hidden layer at 1:8, or dense
    xqc-rnm-1-8-with-head             the critics' head at 1:8, too
    crossq-rnm-1-8-of-512-actor-64    CrossQ with a dense actor of 2x64 beside critics of 2x512
                                      whose hidden layer is at 1:8

Ant-v5, 200,000 steps, seeds 0 and 1, where critics have enough inputs for a first layer at 1:8; the
policy that is evaluated is an average over 500 of its updates in both:

    xqc-rnm-1-8, crossq-rnm-1-8       two layers of 256, critics at 1:8 but for their head

EnvPool's Go1JoystickFlatTerrain-v1, 300,000 steps, one update each, seeds 0 and 1, where standing
still earns about 19: the same two, their heads at 1:8, too.

Stop it, and the same command goes on where it was. Curves and tables go to
`results/normalised_critics/`.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "normalised_critics", ("walker2d", "ant", "go1"))
