"""Seeds in lockstep: each learns what it would have learned alone, in one compiled call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support import rows

from sparl.agents import DQN, PPO, SAC, TD3, XQC, ActorCritic, CrossQ, PrimalDual
from sparl.engine import Engine, Lockstep, SeedEngine
from sparl.methods import RNM, SET, Dense, RigL, Static
from sparl.replay import Columns

SMALL = {"hidden": (16, 16), "batch_size": 8, "learning_rate": 1e-3}
CONTINUOUS, DISCRETE = Columns(5, 3), Columns(5, 4, discrete=True)
CASES = {
    "td3-rnm": (TD3(**SMALL), RNM(2, 4), CONTINUOUS),
    "sac-static": (SAC(**SMALL), Static(0.5), CONTINUOUS),
    "crossq-set": (CrossQ(**SMALL), SET(0.5), CONTINUOUS),
    "xqc": (XQC(**SMALL), RNM(2, 4), CONTINUOUS),
    "dqn": (DQN(**SMALL), Dense(), DISCRETE),
    "ppo": (PPO(**SMALL), RigL(0.5), replace(CONTINUOUS, extras=PPO().extras)),
    "actor-critic": (ActorCritic(**SMALL), RNM(2, 4), DISCRETE),
    "primal-dual": (PrimalDual(**SMALL), RNM(2, 4), DISCRETE),
}
SEEDS = (3, 1, 7)


def numbers(engine: Engine) -> dict[str, np.ndarray]:
    """All that updates change."""
    found = {"journal." + n: np.asarray(v) for n, v in engine.journal._asdict().items()}
    for name, part in engine.learner.parts.items():
        found |= {
            f"{name}.values": np.asarray(part.values),
            f"{name}.target": np.asarray(part.target),
        }
        moments = [np.asarray(m) for m in __import__("jax").tree.leaves(part.optimizer)]
        found |= {f"{name}.moment{i}": m for i, m in enumerate(moments)}
    return found


@pytest.mark.parametrize("case", CASES)
def test_ten_updates_are_those_of_each_seed_alone(case):
    agent, method, columns = CASES[case]
    together = [SeedEngine(agent, method, columns, seed) for seed in SEEDS]
    alone = [Engine(agent, method, columns, seed) for seed in SEEDS]
    lockstep, rng = Lockstep(together), np.random.default_rng(0)
    for _ in range(10):
        batches = {i: rows(rng, agent.batch_size, columns) for i in range(len(SEEDS))}
        lockstep.update(batches)
        for i, engine in enumerate(alone):
            engine.update(batches[i])
    for one, other in zip(together, alone, strict=True):
        expected = numbers(other)
        for name, value in numbers(one).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
