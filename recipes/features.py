"""Which inputs `sparl features` finds among hundreds of noise, and what an agent learns of them.

    python recipes/features.py --select               # the inputs, several environments and seeds
    python recipes/features.py                        # DQN on CartPole-v1 with 500 noise inputs

DQN sees the inputs that were selected with seed 0, or all 504. All else is equal: 50,000 steps,
3-step returns, three seeds. Which inputs were selected goes to `results/features/selected.csv`; the
study, a file in `recipes/studies/`, has them from there. Curves, table and plot, and the returns of
the final policies over 100 more episodes, go to `results/features/cartpole/`.
"""

from __future__ import annotations

import csv
import sys
import time

from final_policies import play
from swept import ROOT, main

from sparl.errors import BadValue
from sparl.linear_mdp.features import find

NOISE = 500
SELECTED = ROOT / "results" / "features" / "selected.csv"
TASKS = {
    # The last ten are seeds that no option was chosen by.
    "CartPole-v1": range(20),
    "Pendulum-v1": range(2),
    "Acrobot-v1": range(2),
    "LunarLander-v3": range(2),
    "MountainCar-v0": range(2),
    "Hopper-v5": range(1),
}


def select() -> None:
    """A row per environment and seed, with the true inputs and those of noise that were kept."""
    SELECTED.parent.mkdir(parents=True, exist_ok=True)
    with open(SELECTED, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["env", "seed", "true_inputs", "kept", "of_noise", "seconds"])
        for env, seeds in TASKS.items():
            for seed in seeds:
                start = time.process_time()
                try:
                    found = find(env, NOISE, seed=seed)
                    true, kept = found.inputs_in_all - NOISE, found.inputs
                except BadValue:  # nothing was found
                    true, kept = "", ()
                words = " ".join(map(str, kept)), sum(i >= int(true) for i in kept)
                writer.writerow([env, seed, true, *words, f"{time.process_time() - start:.0f}"])
                file.flush()
                print(env, seed, *words, flush=True)


if __name__ == "__main__":
    if "--select" in sys.argv[1:]:
        select()
    else:
        main(__doc__, "features", ("cartpole",), after=play)
