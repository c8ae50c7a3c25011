"""What an agent's update may do to its state: steps, clipping, annealed rates, targets."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import same_bits

from sparl.learner import AgentState, Learner, StepRules
from sparl.learner.agent_state import norm
from sparl.methods import RNM
from sparl.networks import build, by_batch

RATE = 0.5


def state_of(progress=None, before_step=None, after_step=None, **rules) -> AgentState:
    """Two parts of one network each, the first sparse, that plain gradient descent trains."""
    keys = jax.random.split(jax.random.key(0))
    networks = {name: {name: build(key, (4, 16, 2))} for name, key in zip("ab", keys, strict=True)}
    method = RNM("2:4", sparse_layers="all")
    sparse, _ = method.start({"a": networks["a"]}, jax.random.key(1), {"a": "actor"})
    learner = Learner.start(
        networks | sparse,
        {"a": optax.sgd(RATE), "b": optax.sgd(RATE)},
        frozenset({"a"}),
        {"a": "actor", "b": "critic"},
    )
    made = StepRules(
        learner.structures,
        learner.optimizers,
        {"a": RATE, "b": RATE},
        before_step,
        after_step,
        **rules,
    )
    progress = None if progress is None else jnp.float32(progress)
    return AgentState(learner.parts, {}, progress, {}, made, frozenset({"a"}))


def loss(networks):
    (network,) = networks.values()
    y = network(jnp.ones((4, 8)))
    return jnp.sum((y - 3.0) ** 2), y


def moved(state: AgentState, part: str = "a") -> np.ndarray:
    """What one step changes of a part's values."""
    after, _, _ = state.step(part, loss)
    return np.asarray(after.parts[part].values) - np.asarray(state.parts[part].values)


def test_a_step_descends_by_what_is_stored_and_leaves_the_other_part_alone():
    state = state_of()
    after, value, y = state.step("a", loss)
    assert float(value) == pytest.approx(float(loss(state.online("a"))[0]), rel=1e-6)
    assert y.shape == (2, 8)
    assert same_bits(after.parts["b"].values, state.parts["b"].values)
    structure = state.rules.structures["a"]
    gradient = jax.grad(lambda n: loss(n)[0], allow_int=True)(state.online("a"))
    expected = state.parts["a"].values - RATE * structure.flatten(gradient)
    np.testing.assert_allclose(after.parts["a"].values, expected, rtol=1e-6)
    assert same_bits(after.parts["a"].target, state.parts["a"].target)


def test_a_gradient_is_scaled_down_to_the_longest_that_is_allowed():
    free = moved(state_of())
    length = float(np.linalg.norm(free)) / RATE
    clipped = moved(state_of(max_grad_norm=length / 4))
    np.testing.assert_allclose(clipped, free / 4, rtol=1e-4, atol=1e-7)
    assert same_bits(moved(state_of(max_grad_norm=2 * length)), free)


def test_running_statistics_are_set_and_never_trained():
    """Weight decay would move them; with_statistics sets them and nothing else."""
    network = build(jax.random.key(0), (4, 8, 2), norm="batch")
    optimizer = optax.adamw(RATE, weight_decay=0.5)
    learner = Learner.start({"a": {"a": network}}, {"a": optimizer}, frozenset("a"), {"a": "actor"})
    rules = StepRules(learner.structures, learner.optimizers, {"a": RATE})
    state = AgentState(learner.parts, {}, None, {}, rules, frozenset({"a"}))
    x = jnp.asarray(np.random.default_rng(0).normal(1.0, 2.0, (4, 16)), jnp.float32)

    def loss(networks):
        y, seen = by_batch(networks["a"], x)
        return jnp.sum((y - 3.0) ** 2), {"a": seen}

    stepped, _, seen = state.step("a", loss)
    after = stepped.with_statistics("a", seen)
    for place in ("norms", "input_norms"):
        for i, start in enumerate(getattr(network, place)):
            if start is None:
                continue
            trained, moved = (getattr(s.online("a")["a"], place)[i] for s in (stepped, after))
            assert same_bits(trained.mean, start.mean)
            assert same_bits(trained.variance, start.variance)
            assert (trained.gain != start.gain).all()
            assert same_bits(moved.gain, trained.gain)
            assert same_bits(moved.mean, getattr(seen["a"], place)[i].mean)
            assert (moved.mean != start.mean).all()
    assert same_bits(
        after.online("a")["a"].layers[0].weight, stepped.online("a")["a"].layers[0].weight
    )
    # A target follows in its statistics as in all else.
    target = after.polyak(0.25, "a").target("a")["a"].norms[0]
    np.testing.assert_allclose(target.mean, 0.25 * after.online("a")["a"].norms[0].mean, rtol=1e-6)


@pytest.mark.parametrize("progress, factor", [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_an_annealed_rate_shortens_steps_and_what_hooks_are_told(progress, factor):
    told = []

    def after_step(part, networks, hooks, rate):
        told.append(float(rate))
        return networks

    state = state_of(progress, after_step=after_step, anneal=lambda p: 1.0 - p)
    # Values minus values: the last bit is that of the values themselves.
    np.testing.assert_allclose(moved(state), factor * moved(state_of()), rtol=1e-3, atol=1e-6)
    assert told == [pytest.approx(factor * RATE)]


def test_hooks_see_the_gradient_and_remember():
    def before_step(part, networks, gradients, hooks):
        doubled = jax.tree.map(lambda g: g if g.dtype == jax.dtypes.float0 else 2 * g, gradients)
        return doubled, {"steps": hooks["steps"] + 1}

    state = replace(state_of(before_step=before_step), hooks={"steps": jnp.int32(0)})
    after, _, _ = state.step("a", loss)
    assert int(after.hooks["steps"]) == 1
    np.testing.assert_allclose(moved(state), 2 * moved(state_of()), rtol=1e-3, atol=1e-6)


def test_gradients_may_be_collected_instead():
    state = state_of(collect_gradients=True)
    after, _, _ = state.step("a", loss)
    assert after.parts is state.parts
    assert set(after.gradients) == {"a"}


def test_targets_follow_by_polyak_averaging():
    state = state_of()
    state, _, _ = state.step("a", loss)
    before = state.parts["a"]
    after = state.polyak(0.25, "a").parts["a"]
    np.testing.assert_allclose(after.target, 0.75 * before.target + 0.25 * before.values, rtol=1e-6)
    assert same_bits(after.values, before.values)
    assert state.target("b") == {}


def test_updates_may_be_scanned():
    state = state_of()

    def body(carried, _):
        stepped, value, _ = carried.step("a", loss)
        return stepped.polyak(0.1, "a"), value

    scanned, losses = jax.jit(lambda s: jax.lax.scan(body, s, length=3))(state)
    one_by_one = state
    for _ in range(3):
        one_by_one, _ = body(one_by_one, None)
    np.testing.assert_allclose(
        scanned.parts["a"].values, one_by_one.parts["a"].values, rtol=1e-5, atol=1e-6
    )
    assert losses.shape == (3,)


@pytest.mark.parametrize("size", [1, 255, 256, 70_000])
def test_the_norm_of_a_vector(size):
    vector = np.random.default_rng(size).normal(size=size).astype(np.float32)
    assert float(norm(jnp.asarray(vector))) == pytest.approx(np.linalg.norm(vector), rel=1e-5)
