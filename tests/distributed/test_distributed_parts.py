"""The parts of runs with actors, in one process: rate limiter, priorities, weights, an actor."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from environments import LIMIT, SMALL_OFENET, TINY, TINY_DQN, TINY_SAC
from hypothesis import given, settings
from hypothesis import strategies as st
from support import at, rows, same_bits

import sparl
from sparl.agents import UpdateSchedule
from sparl.config import RunConfig
from sparl.engine import Engine, Moving, UpdateInputs, update_function
from sparl.engine.scales import Scales
from sparl.replay import Columns, Replay

pytest.importorskip("ray", reason="the extra `ray` is not installed")
from sparl.distributed import Actor, Order, Publisher, RateLimiter, Received, ReplayServer
from sparl.distributed.remote_replay import RemoteReplay
from sparl.replay import Priorities

CONTINUOUS, CHOICES = Columns(5, 2), Columns(5, 3, discrete=True)


@given(
    ratio=st.sampled_from([0.1, 0.29, 0.3, 1.0, 1.5, 4.0]),
    actors=st.integers(1, 5),
    rollout=st.integers(1, 9),
    starts=st.integers(0, 30),
    every=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_the_limiter_keeps_the_ratio_and_never_stops_both_sides(
    ratio, actors, rollout, starts, every, seed
):
    """Whether the actors or the learner are faster: the seed decides who goes next."""
    limiter = RateLimiter(ratio, starts, actors * rollout, every)
    rng = np.random.default_rng(seed)
    inserted, updates, under_way = 0, 0, 0
    while inserted < 400:
        admitted = under_way < actors and limiter.admits(
            rollout, inserted + under_way * rollout, updates
        )
        due = limiter.due(inserted, 0, False, updates)
        assert admitted or due or under_way
        possible = {"order": admitted, "learn": due, "store": under_way}
        choice = rng.choice([name for name, count in possible.items() if count])
        under_way += (choice == "order") - (choice == "store")
        inserted += rollout * (choice == "store")
        updates += choice == "learn"
        learned = max(0, inserted - starts)
        assert updates <= ratio * learned + 1e-6
        assert learned - updates / ratio < actors * rollout + 1 / ratio + every - 1
    updates += limiter.due(inserted, 0, False, updates)
    assert updates == int(ratio * ((inserted - starts) // every * every) + 1e-9)


def test_a_single_actor_steps_only_after_the_update_that_is_due():
    limiter = RateLimiter(1.0, starts=10, slack=1)

    def due(inserted: int, updates: int) -> int:
        return limiter.due(inserted, 0, False, updates)

    for step in range(10):
        assert limiter.admits(1, step, 0) and not due(step, 0)
    assert limiter.admits(1, 10, 0) and not due(10, 0)
    assert not limiter.admits(1, 11, 0) and due(11, 0) == 1
    assert limiter.admits(1, 11, 1) and not due(11, 1)


@pytest.mark.parametrize(("every", "updates"), [(1, 1), (4, 2), (3, 5), (5, 1)])
def test_with_a_single_actor_updates_come_as_without(every, updates):
    own = UpdateSchedule(7, every, updates)
    limiter = RateLimiter(own.per_step, own.starts, 1, every)
    step = made = 0
    while step < 60:
        assert limiter.planned(step) == own.planned(step)
        assert limiter.step_of(made + 1) == own.step_of(made + 1)
        assert limiter.admits(1, step, made) == (own.due(step, 0, False, made) == 0)
        if own.due(step, 0, False, made):
            made += 1
        else:
            step += 1


def test_draws_follow_the_priorities():
    rng = np.random.default_rng(0)
    priorities = Priorities(11, exponent=0.5)
    errors = rng.random(11).astype(np.float32)
    priorities.set_errors(np.arange(11), errors)
    priorities.set(np.array([3, 7]), 0.0)
    expected = np.sqrt(errors + 1e-6)
    expected[[3, 7]] = 0.0
    expected /= expected.sum()
    places, probability = priorities.draw(rng.random(100_000))
    np.testing.assert_allclose(probability, expected[places], rtol=1e-5)
    # With strata each count is at most two away from its expectation.
    assert np.abs(np.bincount(places, minlength=11) - 100_000 * expected).max() < 2
    assert not {3, 7} & set(places.tolist())


def test_a_priority_is_the_newest_error_and_can_be_saved():
    priorities = Priorities(5, exponent=1.0)
    priorities.set(np.arange(3), priorities.highest)
    priorities.set_errors(np.array([0, 2, 0]), np.float32([9.0, 4.0, 2.0]))
    np.testing.assert_allclose(priorities.state, [2, 1, 4, 0, 0, 9], rtol=1e-5)
    other = Priorities(5, exponent=1.0)
    other.state = priorities.state
    uniform = np.random.default_rng(0).random(50)
    assert all(
        same_bits(a, b) for a, b in zip(other.draw(uniform), priorities.draw(uniform), strict=True)
    )


class Here:
    """An actor of Ray that is called in this process."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._inner, name))


def test_each_of_several_batches_is_of_the_whole_replay(monkeypatch):
    def on_this_machine(kind: Any) -> Any:
        return SimpleNamespace(remote=lambda *arguments: Here(kind(*arguments)))

    module = "sparl.distributed.remote_replay"
    monkeypatch.setattr(f"{module}.cluster.on_this_machine", on_this_machine)
    monkeypatch.setattr(f"{module}.ray.get", lambda result: result)
    replay = RemoteReplay(1000, Columns(1, 1), lambda: "", exponent=1.0)
    stored = np.zeros((1000, 6), np.float32)
    stored[:, 0] = np.arange(1000)
    replay.append(stored)
    drawn = replay.sample(8 * 64, np.random.default_rng(0), 0.99).reshape(8, 64, -1)[..., 0]
    assert (np.ptp(drawn, axis=1) > 700).all()
    # The errors of each row are its own.
    errors = drawn.astype(np.float32)
    replay.prioritise(errors)
    found = replay.arrays["priorities"][:1000]
    seen = np.unique(drawn.astype(int))
    np.testing.assert_allclose(found[seen], seen, rtol=1e-4, atol=1e-4)


def test_importance_weights_are_inverse_to_priorities():
    rng = np.random.default_rng(0)
    server = ReplayServer(8, Columns(1, 1), exponent=1.0)
    stored = np.zeros((12, 6), np.float32)
    stored[:, 0] = np.arange(12)
    server.restore(0, stored)  # the first four are overwritten
    server.prioritise(np.arange(2, 12), np.arange(2, 12).astype(np.float32))
    server.drop(1)
    first, drawn = server.draw(rng.random(2000), 1.0, 0.99, 1)
    assert set(first.tolist()) == set(range(5, 12))
    assert (drawn[:, 0] == first).all()
    # With exponents of 1 a weight is the inverse of the priority; the largest is 1.
    np.testing.assert_allclose(drawn[:, -1], 5 / first, rtol=1e-4)


@pytest.mark.parametrize(
    "agent, columns", [(TINY, CONTINUOUS), (TINY_SAC, CONTINUOUS), (TINY_DQN, CHOICES)]
)
def test_a_weight_of_one_changes_nothing_and_of_zero_leaves_a_transition_out(agent, columns):
    rng = np.random.default_rng(0)
    batch = rows(rng, agent.batch_size, columns)

    engine = Engine(agent, sparl.methods.Dense(), columns, 0)
    algorithm = engine.algorithm
    update = jax.jit(update_function(algorithm, engine.learner), static_argnames="due")
    due, critics = (algorithm.due(0),), "q" if columns.discrete else "critics"

    def updated(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The critics' values after an update, and the TD errors."""
        moving = Moving(engine.learner.parts, engine.journal, {})
        result = update(moving, UpdateInputs({}, batch, Scales(), None), due=due)
        errors = result.td_errors
        values = np.asarray(result.moving.parts[critics].values)
        return values, None if errors is None else np.asarray(errors)

    def weighted(batch: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.column_stack([batch, weights]).astype(np.float32)

    plain, none = updated(batch)
    assert none is None
    ones, errors = updated(weighted(batch, np.ones(len(batch))))
    assert errors is not None and errors.shape == (agent.batch_size,) and (errors > 0).all()
    np.testing.assert_allclose(ones, plain, rtol=1e-5, atol=1e-7)
    # Transitions of weight 0 do not change the critics, whatever is in them.
    half = np.arange(len(batch)) < len(batch) // 2
    other = batch.copy()
    other[~half, columns.reward] += 7.0
    one, first = updated(weighted(batch, half))
    two, second = updated(weighted(other, half))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
    assert np.abs(one - plain).max() > 1e-5
    assert first is not None and second is not None
    np.testing.assert_allclose(first[half], second[half], rtol=1e-5)
    assert (np.abs(first - second)[~half] > 1).any()


FAST_DQN = replace(TINY_DQN, learning_rate=0.05)  # so that eight updates change a mask
WITH_OFENET = replace(
    TINY_SAC, **SMALL_OFENET, learning_rate=0.05, representation_updates=0, activation="swish"
)
RNM = sparl.RNM("2:4", interval=2)
DSP = sparl.methods.DSP(interval=2, begin=0.0, end=0.5, tolerance=1.0)
DENSE_BYTES = {
    "q": 4 * (5 * 16 + 16 + 16 * 16 + 16 + 16 * 3 + 3),
    # Blocks of 4, 3 and 3 units, each behind the ones before, without their norms.
    "actor": 4 * (5 * 4 + 4 + 9 * 3 + 3 + 12 * 3 + 3 + 15 * 16 + 16 + 16 * 16 + 16 + 16 * 4 + 4),
}


@pytest.mark.parametrize(
    "agent, columns, method",
    [(FAST_DQN, CHOICES, RNM), (FAST_DQN, CHOICES, DSP), (WITH_OFENET, CONTINUOUS, RNM)],
    ids=["rnm", "dsp", "ofenet"],
)
def test_an_actor_acts_exactly_as_the_learner_with_the_weights_it_is_sent(agent, columns, method):
    """The topology changes its version only when a restructuring has changed it."""
    rng = np.random.default_rng(0)
    engine = Engine(agent, method, columns, 0)
    publisher, received = Publisher(engine), Received(agent, columns)

    def topology_of_acting() -> tuple[Any, ...]:
        networks = [engine.learner.networks(part)[name] for part, name in engine.acting]
        leaves, treedef = jax.tree.flatten(networks)
        indices = [np.array(leaf) for leaf in leaves if leaf.dtype == np.int32]
        layouts = [engine.layouts[part][name] for part, name in engine.acting]
        return str(treedef), layouts, [array.tobytes() for array in indices]

    observation = rng.normal(size=(3, 5)).astype(np.float32)
    topology = 0
    for update in range(1, 9):
        engine.update(rows(rng, agent.rows_per_update, columns))
        stage = engine.method.stage(update, 8)
        before = topology_of_acting()
        if stage is not None:
            engine.restructure(stage, at(update / 8))
        changed = update == 1 or topology_of_acting() != before
        weights = publisher.newest()
        assert weights.version == engine.updates == update
        assert (weights.topology_version != topology) == changed
        if changed:
            received.set_topology(publisher.topology)
            topology = weights.topology_version
        received.set_values(weights.values)
        assert same_bits(received.network(observation.T), engine._forward(observation.T))
    assert topology > 1
    assert publisher.dense_bytes == DENSE_BYTES[engine.agent.acting[1]]
    assert publisher.newest().values.nbytes < publisher.dense_bytes


def test_an_order_ends_with_its_episode():
    run = RunConfig("environments:Numbered-v0", seed=3, actors=2)
    columns = Columns(2, 1)
    engine = Engine(TINY, sparl.RNM("2:4"), columns, 0)
    publisher, actor = Publisher(engine), Actor(run, run.maker(), TINY, columns)
    weights = publisher.newest()
    sent = weights.values, publisher.topology
    first = actor.collect(Order(0, 15, 0, weights.version, None), *sent)
    second = actor.collect(Order(100, 15, None, 1, None), None, None)
    assert (first.ended, second.ended) == (False, True)
    stored = np.concatenate([first.rows, second.rows])
    assert stored[:, 1].tolist() == list(range(LIMIT))
    assert stored[:, -1].tolist() == [0.0] * (LIMIT - 1) + [1.0]
    assert (second.length, second.episode_return) == (LIMIT, sum(range(1, LIMIT + 1)))
    # Another actor gives the same for the same order, because actors keep only the episode.
    other = Actor(run, run.maker(), TINY, columns)
    again = other.collect(Order(0, 15, 0, weights.version, None), *sent)
    assert same_bits(again.rows, first.rows)
    next_episode = other.collect(Order(0, 15, 1, weights.version, None), None, None)
    assert not same_bits(next_episode.rows[:, 2], first.rows[:, 2])


def test_n_step_rows_do_not_cross_the_end_of_a_cut_rollout():
    """The learner cuts rollouts when several actors share one replay."""
    replay = Replay(10, Columns(1, 1))
    for actor in range(2):
        rows = np.zeros((3, 6), np.float32)
        rows[:, 0], rows[:, 2], rows[:, 3] = 10 * actor + np.arange(3), 1.0, rows[:, 0] + 1
        rows[-1, -1] = 1.0
        replay.restore(replay.added, rows)
    assert replay.rows_at(np.arange(6), 1.0, 3)[:, 2].tolist() == [3, 2, 1, 3, 2, 1]
