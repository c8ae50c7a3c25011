"""A change of topology is a change of coordinates: what `move` and `carry` keep, wake and drop."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import active, adam_state, normal, same_bits, stored, with_random_moments

from sparl.errors import BadValue
from sparl.layouts import BlockCirculant, Dense, Layout, RowSparse, StraightThrough
from sparl.learner import Learner, transport
from sparl.networks import Network, build, plain
from sparl.topology import Kept, NofM, PerLayer, PerRow

SIZES = (5, 6, 3)
PATTERNS = [NofM(2, 4, 2), PerRow(2), PerLayer(7)]

ROLES = {"critics": "critic", "actor": "actor"}
# None is a dense layer; a pattern, packed rows.
CHOICES = st.sampled_from([None, *PATTERNS])
NETWORKS = st.fixed_dictionaries(
    {"critic_0": st.tuples(CHOICES, CHOICES), "critic_1": st.tuples(CHOICES, CHOICES)}
)


def laid_out(layer: Layout, pattern, rng) -> Layout:
    """The layer's values in another layout, at random places."""
    dense = stored(layer, layer.weight)
    if pattern is None:
        return Dense(jnp.asarray(dense), layer.bias)
    kept = pattern.select(normal(rng, *layer.shape))
    return RowSparse.of(jnp.asarray(dense), layer.bias, pattern, kept)


def networks_of(choices, rng, like: dict[str, Network]) -> dict[str, Network]:
    return {
        name: plain(
            tuple(
                laid_out(layer, pattern, rng)
                for layer, pattern in zip(like[name].layers, patterns, strict=True)
            ),
            like[name].squash,
        )
        for name, patterns in choices.items()
    }


def with_values(networks: dict[str, Network], rng) -> dict[str, Network]:
    """The same layouts with random online values in every weight, biases as they are."""

    def filled(layer):
        return type(layer)(**{**vars(layer), "weight": normal(rng, *layer.weight.shape)})

    return {
        name: plain(tuple(map(filled, network.layers)), network.squash)
        for name, network in networks.items()
    }


def learner_of(choices, rng) -> Learner:
    """A learner in the given layouts as if it had trained, beside a part that is left alone."""
    keys = jax.random.split(jax.random.key(0), 3)
    critics = {f"critic_{i}": build(keys[i], SIZES) for i in range(2)}
    optimizers = {"critics": optax.adam(1e-3), "actor": optax.adam(1e-3)}
    networks = {
        "critics": networks_of(choices, rng, critics),
        "actor": {"actor": build(keys[2], (5, 2), squash=True)},
    }
    learner = Learner.start(networks, optimizers, frozenset({"critics"}), ROLES)
    return with_random_moments(learner, rng)


def views(learner: Learner, aligned) -> dict[str, Network]:
    """A vector aligned with the critics' values, as networks."""
    return learner.structures["critics"].networks(aligned, learner.parts["critics"].indices)


def assert_carried(before: Learner, after: Learner, part_of, woken_value) -> None:
    """What `part_of` picks kept its values where both store a weight, and has `woken_value` in
    places that only the new layouts store; biases kept theirs."""
    old, new = views(before, part_of(before)), views(after, part_of(after))
    for name in old:
        for i, (was, now) in enumerate(zip(old[name].layers, new[name].layers, strict=True)):
            expected = np.where(active(was), stored(was, was.weight), woken_value(name, i))
            expected = np.where(active(now), expected, np.float32(0))
            assert same_bits(stored(now, now.weight), expected)
            assert same_bits(now.bias, was.bias)


@settings(max_examples=20, deadline=None)
@given(NETWORKS, NETWORKS, st.integers(0, 2**16))
def test_carry_keeps_what_stays_and_wakes_the_rest_afresh(old, new, seed):
    rng = np.random.default_rng(seed)
    before = learner_of(old, rng)
    successors = with_values(networks_of(new, rng, before.networks("critics")), rng)
    after = transport.carry(before, {"critics": successors})

    online = after.networks("critics")
    assert jax.tree.structure(online) == jax.tree.structure(successors)
    assert all(map(same_bits, jax.tree.leaves(online), jax.tree.leaves(successors)))

    def zero(name, i):
        return np.float32(0)

    def online_value(name, i):
        return stored(online[name].layers[i], online[name].layers[i].weight)

    assert_carried(before, after, lambda le: adam_state(le.parts["critics"].optimizer).mu, zero)
    assert_carried(before, after, lambda le: adam_state(le.parts["critics"].optimizer).nu, zero)
    assert_carried(before, after, lambda le: le.parts["critics"].target, online_value)

    # Nothing else: Adam's step count, the other part.
    counts = [adam_state(le.parts["critics"].optimizer).count for le in (before, after)]
    assert same_bits(*counts)
    assert after.parts["actor"] is before.parts["actor"]
    assert after.structures["actor"] == before.structures["actor"]
    # Moments and targets are stored for kept weights alone.
    kept = sum(active(la).sum() for network in online.values() for la in network.layers)
    biases = sum(la.bias.size for network in online.values() for la in network.layers)
    for vector in (adam_state(after.parts["critics"].optimizer).mu, after.parts["critics"].target):
        assert vector.shape == (kept + biases,)


@settings(max_examples=15, deadline=None)
@given(NETWORKS, st.integers(0, 2**16))
def test_carry_to_the_same_layouts_changes_no_bit(choices, seed):
    before = learner_of(choices, np.random.default_rng(seed))
    after = transport.carry(before, {"critics": before.networks("critics")})
    assert after.structures == before.structures
    assert jax.tree.structure(after.parts) == jax.tree.structure(before.parts)
    for was, now in zip(jax.tree.leaves(before.parts), jax.tree.leaves(after.parts), strict=True):
        assert same_bits(was, now)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(PATTERNS), st.integers(0, 2**16))
def test_dense_to_rows_and_back_forgets_only_what_was_dropped(pattern, seed):
    rng = np.random.default_rng(seed)
    dense, packed = ({f"critic_{i}": (kind, kind) for i in range(2)} for kind in (None, pattern))
    start = learner_of(dense, rng)
    there = transport.carry(start, {"critics": networks_of(packed, rng, start.networks("critics"))})
    # Back again, with one online value for every woken weight.
    filled = {
        name: plain(
            tuple(
                Dense(jnp.where(active(la), stored(la, la.weight), 0.25), la.bias)
                for la in network.layers
            ),
            False,
        )
        for name, network in there.networks("critics").items()
    }
    back = transport.carry(there, {"critics": filled})

    for part_of, woken in (
        (lambda le: adam_state(le.parts["critics"].optimizer).mu, 0.0),
        (lambda le: adam_state(le.parts["critics"].optimizer).nu, 0.0),
        (lambda le: le.parts["critics"].target, 0.25),
    ):
        first, last = views(start, part_of(start)), views(back, part_of(back))
        for name, network in there.networks("critics").items():
            for i, layer in enumerate(network.layers):
                expected = np.where(active(layer), first[name].layers[i].weight, np.float32(woken))
                assert same_bits(last[name].layers[i].weight, expected)
                assert same_bits(last[name].layers[i].bias, first[name].layers[i].bias)


def test_move_by_hand():
    pattern, bias = NofM(1, 2), jnp.zeros(1)

    def rows(*columns):
        scores = jnp.zeros((1, 4)).at[0, jnp.array(columns)].set(1.0)
        return RowSparse.of(jnp.zeros((1, 4)), bias, pattern, pattern.select(scores))

    old, new, aligned = rows(0, 2), rows(0, 3), jnp.array([5.0, 6.0])
    # Column 0 stays, 2 is dropped, 3 is filled: with a number or from a matrix.
    assert transport.move(aligned, old, new, 0.0).tolist() == [5.0, 0.0]
    assert transport.move(aligned, old, new, jnp.array([[1.0, 2.0, 3.0, 4.0]])).tolist() == [5, 4]
    whole = Dense(jnp.zeros((1, 4)), bias)
    assert transport.move(aligned, old, whole, 9.0).tolist() == [[5, 9, 6, 9]]
    assert transport.move(jnp.array([[1.0, 2.0, 3.0, 4.0]]), whole, new, 0.0).tolist() == [1, 4]


def test_a_part_without_targets_gets_none():
    networks = {"actor": {"actor": build(jax.random.key(0), (4, 3))}}
    learner = Learner.start(networks, {"actor": optax.adam(1e-3)}, frozenset(), ROLES)
    layer = networks["actor"]["actor"].layers[0]
    packed = {"actor": plain((laid_out(layer, NofM(1, 4), np.random.default_rng(0)),), False)}
    after = transport.carry(learner, {"actor": packed})
    assert after.parts["actor"].target.shape == (0,)
    assert after.parts["actor"].values.shape == (3 * 1 + 3,)


def test_target_of_a_straight_through_layer_takes_online_values_where_it_was_packed():
    """It stores dormant weights too: those are woken places for transport."""
    pattern = NofM(1, 2)
    online = jnp.array([[1.0, 2.0, 3.0, 4.0]])
    kept = pattern.select(jnp.array([[1.0, 0.0, 0.0, 1.0]]))
    packed = {"actor": plain((RowSparse.of(online, jnp.zeros(1), pattern, kept),), False)}
    learner = Learner.start(
        {"actor": packed}, {"actor": optax.adam(1e-3)}, frozenset({"actor"}), ROLES
    )
    part = learner.parts["actor"]
    learner = learner.with_parts({"actor": part._replace(target=part.target + 10.0)})

    through = plain((StraightThrough.of(online, jnp.zeros(1), pattern, kept),), False)
    after = transport.carry(learner, {"actor": {"actor": through}})
    target = after.structures["actor"].target(after.parts["actor"])["actor"].layers[0]
    assert target.weight.tolist() == [[11.0, 2.0, 3.0, 14.0]]


def one_layer(optimizer, layer=None) -> Learner:
    """A part of one dense layer [2, 4], or of `layer`, with an optimizer's state of made-up
    numbers."""
    dense = Dense(jnp.arange(8.0).reshape(2, 4), jnp.zeros(2))
    networks = {"actor": {"actor": plain((layer or dense,), False)}}
    learner = Learner.start(networks, {"actor": optimizer}, frozenset(), ROLES)
    part = learner.parts["actor"]
    numbers = jnp.arange(1.0, 1 + part.values.size)
    state = jax.tree.map(lambda a: numbers if jnp.shape(a) == numbers.shape else a, part.optimizer)
    return learner.with_parts({"actor": part._replace(optimizer=state)})


def packed_of(learner: Learner) -> dict[str, Any]:
    layer = learner.networks("actor")["actor"].layers[0]
    kept = NofM(1, 4).select(jnp.abs(layer.to_dense()))  # the last column of each row
    sparse = RowSparse.of(layer.to_dense(), layer.bias, NofM(1, 4), kept)
    return {"actor": {"actor": plain((sparse,), False)}}


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(1e-3),
        optax.amsgrad(1e-3),
        optax.sgd(1e-3, momentum=0.9),
        optax.lion(1e-3),
        optax.rmsprop(1e-3, momentum=0.9),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adabelief(1e-3)),
    ],
    ids=["adam", "amsgrad", "sgd", "lion", "rmsprop", "adabelief"],
)
def test_whatever_of_an_optimizer_is_aligned_goes_along(optimizer):
    """Its moments of the two weights that stay, and of the biases; counts as they are."""
    before = one_layer(optimizer)
    after = transport.carry(before, packed_of(before))
    # Values lie as weights, then biases: 1 to 8 and 9, 10.
    for old, new in zip(
        jax.tree.leaves(before.parts["actor"].optimizer),
        jax.tree.leaves(after.parts["actor"].optimizer),
        strict=True,
    ):
        if jnp.ndim(old):
            assert sorted(np.asarray(new).tolist()) == [4.0, 8.0, 9.0, 10.0]
        else:
            assert np.array_equal(old, new)


def test_a_state_that_is_not_aligned_is_refused():
    """Better no run than one whose optimizer forgets without a word."""

    def init(values):
        return {"history": jnp.zeros((3, values.size))}

    odd = optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))
    before = one_layer(odd)
    with pytest.raises(BadValue, match=r"history.* neither a number nor aligned"):
        transport.carry(before, packed_of(before))
    with pytest.raises(BadValue, match=r"history.* neither a number nor aligned"):
        transport.along(before, lambda name, network: network)


def test_a_moment_of_unknown_power_is_refused_where_weights_stand_for_several():
    def init(values):
        return {"cubed": jnp.zeros_like(values)}

    odd = optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))
    before = one_layer(odd)
    assert transport.carry(before, packed_of(before)) is not None  # no copies change
    layer = before.networks("actor")["actor"].layers[0]
    everywhere = Kept.of(jnp.ones((1, 2), bool), 2)
    circulant = BlockCirculant.of(layer.to_dense(), layer.bias, 2, everywhere)
    with pytest.raises(BadValue, match="stand for 1 and 2 entries"):
        transport.carry(before, {"actor": {"actor": plain((circulant,), False)}})
