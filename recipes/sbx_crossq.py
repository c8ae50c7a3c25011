"""CrossQ of SBX (Stable-Baselines3 in JAX) on the tasks of `crossq_peers.py`, for its pictures.

    python -m venv sbx && sbx/bin/pip install sbx-rl "gymnasium[mujoco]"
    sbx/bin/python recipes/sbx_crossq.py --env Walker2d-v5 --seed 0

Networks of 2x256 in actor and critics, random actions for the first 5,000 steps, as in ours; all
else as SBX has it. Every 10,000 steps the return of ten episodes of the policy without noise, in an
environment of its own, is added to `results/crossq_peers/`. It needs nothing of sparl.
"""

from __future__ import annotations

from peers import Evaluate, asked, record
from sbx import CrossQ
from stable_baselines3.common.env_util import make_vec_env

VARIANT, STEPS, EVAL_EVERY = "sbx", 100_000, 10_000


def main() -> None:
    wanted, folder = asked(__doc__, ("Walker2d-v5", "HalfCheetah-v5"), "crossq_peers")
    widths = {"pi": [256, 256], "qf": [256, 256]}
    model = CrossQ(
        "MlpPolicy",
        wanted.env,
        learning_starts=5_000,
        policy_kwargs={"net_arch": widths},
        seed=wanted.seed,
        device="cpu",
    )
    evaluate = Evaluate(make_vec_env(wanted.env, 1, seed=10_000 + wanted.seed), EVAL_EVERY)
    model.learn(STEPS, callback=evaluate)
    record(folder, wanted.env, VARIANT, wanted.seed, evaluate.returns)


if __name__ == "__main__":
    main()
