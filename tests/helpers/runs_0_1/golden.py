"""What the policies of sparl 0.1.0 gave: run by that version, in the folder of the runs."""

import numpy as np

import sparl

rng = np.random.default_rng(0)
for name, size in (("td3-rnm", 3), ("dqn-dsp", 4)):
    observations = rng.uniform(-4, 4, (50, size)).astype(np.float32)
    actions, _ = sparl.load(name).predict(observations)
    np.savez(f"{name}.npz", observation=observations, action=actions)
