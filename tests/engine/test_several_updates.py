"""Several updates in one compiled call: what as many calls of one do, with any method."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from support import at, rows

from sparl import methods
from sparl.agents import DQN, SAC, TD3
from sparl.engine import Engine
from sparl.methods import RNM, Dense
from sparl.replay import Columns

SMALL = {"hidden": (16, 16), "batch_size": 8, "learning_rate": 1e-3}
CONTINUOUS, DISCRETE = Columns(5, 3), Columns(5, 4, discrete=True)
OFENET = {
    "representation": "ofenet",
    "representation_units": 8,
    "representation_layers": 2,
    "representation_updates": 0,
}
CASES = {
    "td3": (TD3(**SMALL, policy_delay=3), RNM("2:4"), CONTINUOUS),
    "sac-dsp": (SAC(**SMALL), methods.DSP(interval=10), CONTINUOUS),
    "sac-ofenet": (SAC(**SMALL, **OFENET), methods.SET(0.5), CONTINUOUS),
    "dqn-annealed": (
        replace(DQN(**SMALL), target_update_interval=4, learning_rate_schedule="cosine"),
        methods.GST(smallest=8, group=2),
        DISCRETE,
    ),
}
COUNT = 6


class Unhashable(RNM):
    __hash__: ClassVar[None] = None  # type: ignore[assignment]


def values(engine: Engine) -> dict[str, np.ndarray]:
    """All that updates change, but for what the log has summed up."""
    parts = engine.learner.parts
    found = {f"{n}.values": np.asarray(p.values) for n, p in parts.items()}
    found |= {f"{n}.target": np.asarray(p.target) for n, p in parts.items()}
    running = engine.method_state.get(methods.RUNNING, {})
    importance = running.get("importance", {})
    return found | {f"importance.{n}": np.asarray(v) for n, v in importance.items()}


@pytest.mark.parametrize("case", CASES)
def test_one_call_for_six_updates_is_six_calls(case):
    agent, method, columns = CASES[case]
    rng = np.random.default_rng(0)
    batches = np.stack([rows(rng, agent.rows_per_update, columns) for _ in range(COUNT)])
    together, alone = (
        Engine(agent, method, columns, seed=1, planned_updates=2 * COUNT) for _ in range(2)
    )
    together.update(batches)
    for batch in batches:
        alone.update(batch)
    assert together.updates == alone.updates == COUNT
    expected = values(alone)
    for name, value in values(together).items():
        np.testing.assert_allclose(value, expected[name], rtol=2e-4, atol=2e-6, err_msg=name)
    metrics, single = together.take_metrics(), alone.take_metrics()
    assert metrics == pytest.approx(single, rel=1e-3, nan_ok=True)


def test_a_restructuring_after_it_sees_the_newest_batch():
    agent, _, columns = CASES["td3"]
    engine = Engine(agent, methods.RigL(0.5, interval=4), columns, seed=1)
    batches = np.stack([rows(np.random.default_rng(i), 8, columns) for i in range(4)])
    engine.update(batches)
    other = Engine(agent, methods.RigL(0.5, interval=4), columns, seed=1)
    for batch in batches:
        other.update(batch)
    for one in (engine, other):
        assert one.restructure("regrow", at(0.1)) is not None
    for part in ("actor", "critics"):
        grown = [np.asarray(one.learner.parts[part].indices) for one in (engine, other)]
        np.testing.assert_array_equal(*grown)


def test_the_same_number_of_updates_compiles_once():
    agent, method, columns = CASES["td3"]
    agent = replace(agent, gamma=0.97)  # as no other test of this process has it
    engine = Engine(agent, method, columns, seed=1)
    batches = np.stack([rows(np.random.default_rng(0), 8, columns)] * 6)
    for _ in range(3):
        engine.update(batches)
    assert engine._compiled.update._cache_size() == 1
    engine.update(batches[0])
    assert engine._compiled.update._cache_size() == 2


def test_another_seed_has_nothing_to_compile():
    agent, method, columns = CASES["td3"]
    agent = replace(agent, gamma=0.96)
    batch = rows(np.random.default_rng(0), 8, columns)
    engines = {name: Engine(agent, method, columns, seed) for name, seed in (("a", 1), ("b", 2))}
    for engine in engines.values():
        engine.update(batch)
    assert engines["a"].compile_seconds > 0 == engines["b"].compile_seconds
    first = {name: values(engine)["actor.values"] for name, engine in engines.items()}
    assert not np.array_equal(first["a"], first["b"])
    for other in (replace(agent, gamma=0.95), replace(agent, hidden=(16, 8))):
        engine = Engine(other, method, columns, seed=1)
        engine.update(batch)
        assert engine.compile_seconds > 0


def test_a_method_without_a_hash_trains():
    """As a user's may be, with a dict for a field."""
    agent, _, columns = CASES["td3"]
    engine = Engine(agent, Unhashable("2:4"), columns, seed=1)
    engine.update(rows(np.random.default_rng(0), 8, columns))
    assert np.isfinite(engine.take_metrics()["critic_loss"])


def test_errors_of_all_updates_come_back_where_rows_have_weights():
    agent, _, columns = CASES["dqn-annealed"]
    engine = Engine(agent, Dense(), columns, seed=1)
    batches = np.stack([rows(np.random.default_rng(i), 8, columns) for i in range(4)])
    weighted = np.concatenate([batches, np.ones((4, 8, 1), np.float32)], axis=2)
    engine.update(weighted)
    assert np.shape(engine.td_errors) == (4, 8)
    engine.update(batches)
    assert engine.td_errors is None


def test_learning_rates_fall_to_nothing_at_the_end_of_the_run():
    agent, _, columns = CASES["td3"]
    agent = replace(agent, learning_rate_schedule="linear")
    engine = Engine(agent, Dense(), columns, seed=1, planned_updates=4)
    batch, changes = rows(np.random.default_rng(0), 8, columns), []
    for _ in range(5):
        before = np.asarray(engine.learner.parts["critics"].values)
        engine.update(batch)
        changes.append(np.abs(np.asarray(engine.learner.parts["critics"].values) - before).max())
    # Adam's steps are about as long as its rate: 1, 3/4, 1/2, 1/4 of it, then 0.
    assert changes[0] == pytest.approx(agent.learning_rate, rel=0.05)
    assert changes[0] > changes[1] > changes[2] > changes[3] > changes[4] == 0
