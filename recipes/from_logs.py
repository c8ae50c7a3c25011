"""Learning from logs first, and then online, beside online alone; Hopper-v5, TD3 at 1:8.

    python recipes/from_logs.py --log    # the logs: a half-trained agent, 100,000 transitions of it
    python recipes/from_logs.py          # the study, three seeds

A dense CrossQ is trained until the mean return of 10 episodes is 1,000 at least; TD3 is said to
come to 3,564 on Hopper (1802.09477, table 1). Then it plays, with Gaussian noise of 0.1 on its
actions. These transitions are the logs, `runs/from_logs/data.npz`; `results/from_logs/logs.csv`
says what is in them. Variants, 50,000 environment steps each:

    online               no logs; learns from step 5,000 on
    logs                 the logs are in the replay from the start
    logs-first           and 50,000 updates from them alone come before the first step
    logs-first-cloning   the same by TD3+BC, alpha 2.5, which goes on online

The study is a file in `recipes/studies/`. It names the logs as they are called from the root of the
checkout: give both commands there. Stop it, and the same command goes on where it was. Curves,
table and plot go to `results/from_logs/hopper/`, with the mean return of every final policy over
100 more episodes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from final_policies import play
from swept import ROOT, main

import sparl
from sparl.storage import RunFolder

ENV = "Hopper-v5"
HALF = 1000.0
FOLDER = ROOT / "runs" / "from_logs"
DATA = FOLDER / "data.npz"
RESULTS = ROOT / "results" / "from_logs"
PIECE, MOST = 5_000, 1_000_000
"""Steps between two looks at the return, and steps in all."""


def half_trained(folder: Path, half: float, piece: int = PIECE) -> sparl.Run:
    """A run whose return is at least `half`; it goes on where it was stopped."""
    often = {"eval_every": piece, "checkpoint_every": piece}
    if (folder / "config.json").exists():
        run = sparl.resume(folder)
    else:
        run = sparl.train(ENV, sparl.CrossQ(), out=folder, steps=piece, **often)
    while (value := run.evaluate(seed=1).mean_return) < half:
        steps = RunFolder(folder).record().run.steps
        print(f"step {steps}: {value:.0f}", flush=True)
        if steps >= MOST:
            raise SystemExit(f"the return is {value:.0f} after {steps} steps, and not {half:.0f}")
        run = run.resume(steps=steps + piece)
    return run


def logged(policy: sparl.Policy, count: int) -> dict[str, np.ndarray]:
    """So many transitions of the policy with noise, with the names that D4RL has for them."""
    env, rng = gym.make(ENV), np.random.default_rng(0)
    space: Any = env.action_space
    names = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
    rows: list[tuple[Any, ...]] = []
    observation, _ = env.reset(seed=0)
    while len(rows) < count:
        action, _ = policy.predict(observation)
        noise = rng.normal(0.0, 0.1, space.shape)  # bounds are -1 and 1
        action = np.clip(action + noise, space.low, space.high).astype(np.float32)
        following, reward, terminated, truncated, _ = env.step(action)
        rows.append((observation, action, reward, following, terminated, truncated))
        observation = env.reset()[0] if terminated or truncated else following
    columns = zip(*rows, strict=True)
    return {name: np.array(values) for name, values in zip(names, columns, strict=True)}


def log(half: float, count: int, piece: int) -> None:
    """Trains, plays, and writes what the study begins with."""
    run = half_trained(FOLDER / "teacher", half, piece)
    arrays = logged(run.policy, count)
    np.savez_compressed(DATA, **arrays)  # pyright: ignore[reportArgumentType]
    ended = arrays["terminals"] | arrays["timeouts"]
    episode = np.cumsum(ended) - ended
    whole = np.bincount(episode, arrays["rewards"])[: ended.sum()]
    found = {
        "env": ENV,
        "teacher_steps": RunFolder(run.folder).record().run.steps,
        "teacher_return": f"{run.evaluate(seed=1).mean_return:.1f}",
        "transitions": count,
        "episodes": len(whole),
        "mean_return": f"{whole.mean():.1f}",
        "std_return": f"{whole.std():.1f}",
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / "logs.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found), lineterminator="\n")
        writer.writeheader()
        writer.writerow(found)
    print(found)


if __name__ == "__main__":
    if "--log" in sys.argv[1:]:
        parser = argparse.ArgumentParser(description="The logs alone.")
        parser.add_argument("--log", action="store_true")
        parser.add_argument("--half", type=float, default=HALF, help="return of who logs")
        parser.add_argument("--transitions", type=int, default=100_000)
        parser.add_argument("--piece", type=int, default=PIECE, help="steps between two looks")
        asked = parser.parse_args()
        log(asked.half, asked.transitions, asked.piece)
    else:
        main(__doc__, "from_logs", ("hopper",), after=play)
