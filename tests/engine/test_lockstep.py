"""Learners in lockstep: each learns what it would have learned alone, in one compiled call.

Eight seeds of every agent were run by hand; three of two are enough to notice what breaks.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from support import EARLY, at, rows

from sparl import kernels
from sparl.agents import DQN, TD3
from sparl.engine import Engine, Lockstep, SeedEngine
from sparl.kernels import native
from sparl.methods import RNM
from sparl.replay import Columns

SMALL = {"hidden": (16, 16), "batch_size": 8, "learning_rate": 1e-3}
CONTINUOUS, DISCRETE = Columns(5, 3), Columns(5, 4, discrete=True)
CASES = {
    "td3": (TD3(**SMALL), RNM("2:4"), CONTINUOUS),
    "dqn": (DQN(**SMALL, learning_rate_schedule="linear"), RNM("2:4"), DISCRETE),
}
SEEDS = (3, 1, 7)


def numbers(engine: Engine) -> dict[str, np.ndarray]:
    """All that updates change."""
    everything = jax.tree_util.tree_leaves_with_path(engine.arrays)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in everything}


def pairs(case: str) -> tuple[list[SeedEngine], list[Engine]]:
    """Engines that are to learn together, and as many that learn alone."""
    agent, method, columns = CASES[case]
    of_seed = [(agent, method, columns, seed) for seed in SEEDS]
    given = {"planned_updates": 20}
    return [SeedEngine(*a, **given) for a in of_seed], [Engine(*a, **given) for a in of_seed]


def assert_alike(together: list[SeedEngine], alone: list[Engine]) -> None:
    for one, other in zip(together, alone, strict=True):
        expected = numbers(other)
        for name, value in numbers(one).items():
            np.testing.assert_allclose(value, expected[name], EARLY, EARLY, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_ten_updates_are_those_of_each_seed_alone(case, monkeypatch):
    together, alone = pairs(case)
    agent, _, columns = CASES[case]
    rng = np.random.default_rng(0)
    batches = [[rows(rng, agent.batch_size, columns) for _ in SEEDS] for _ in range(10)]
    for of_seeds in batches:
        for engine, batch in zip(alone, of_seeds, strict=True):
            engine.update(batch)
    if case == "dqn":  # as on a GPU, which has no kernels
        monkeypatch.setattr(native, "usable", lambda: False)
        monkeypatch.setattr(kernels, "usable", lambda: False)
        together, _ = pairs(case)
    lockstep = Lockstep(together)
    for of_seeds in batches:
        lockstep.update(dict(enumerate(of_seeds)))
        observation = of_seeds[0][:1, : columns.observation_size]
        assert all(engine.is_among_others for engine in together)
        acted = [engine.act(observation) for engine in together]
        assert all(engine.is_among_others for engine in together)
    for engine, other, action in zip(together, alone, acted, strict=True):
        np.testing.assert_allclose(action, other.act(observation), atol=EARLY)
        assert engine.updates == other.updates == 10
    assert_alike(together, alone)
    if case == "td3":  # no more compilations than one seed has: two kinds of update
        compiled = alone[0]._compiled
        assert all(engine._compiled is compiled for engine in (*together, *alone))
        assert compiled.updates_of_seeds._cache_size() == compiled.update._cache_size() == 2
    assert len({np.asarray(engine.journal.key).tobytes() for engine in together}) == len(SEEDS)


def test_they_may_be_apart_restructured_and_read_in_between():
    """One misses updates, all restructure, one is told of its metrics; nothing else changes."""
    together, alone = pairs("td3")
    agent, _, columns = CASES["td3"]
    rng, lockstep = np.random.default_rng(1), Lockstep(together)
    for update in range(6):
        there = (0, 2) if update < 2 else (0, 1, 2)
        batches = {i: rows(rng, agent.batch_size, columns) for i in there}
        lockstep.update(batches)
        for i, batch in batches.items():
            alone[i].update(batch)
        if update == 3:
            for engine in (*together, *alone):
                engine.restructure("reselect", at(0.5))
        if update == 4:
            assert together[1].take_metrics() == pytest.approx(alone[1].take_metrics(), rel=1e-5)
    assert [engine.updates for engine in together] == [6, 4, 6]
    assert_alike(together, alone)
