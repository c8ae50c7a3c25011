"""Many seeds in lockstep on a GPU: TD3 2x256, dense beside sparse.

    python recipes/lockstep_gpu.py                              # both studies, in order
    python recipes/lockstep_gpu.py --studies halfcheetah

Studies, files in `recipes/studies/`:

    halfcheetah   HalfCheetah-v5: 32 seeds of dense and of 1:8, 100,000 steps each
    ant           Ant-v5: 32 seeds of dense and of 2:4, 100,000 steps each

All seeds of a variant are one compiled program, and ten updates one call. A GPU has none of the
kernels for sparse layers: these are multiplied as dense ones with zeros, so that only returns
compare, and no speeds. The live table has the steps per second of all seeds together, `runs.csv`
in the folder of runs those of one seed. Needs JAX for the GPU: `pip install "jax[cuda12]"`. Stop
it, and the same command goes on where it was. Curves and tables go to `results/lockstep_gpu/`.

It was not run yet: no GPU was at hand.
"""

from __future__ import annotations

from swept import main

if __name__ == "__main__":
    main(__doc__, "lockstep_gpu", ("halfcheetah", "ant"))
