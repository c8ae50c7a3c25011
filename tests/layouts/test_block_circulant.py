"""The block-circulant layout against blocks built entry by entry in float64."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import adam_state, normal, same_bits, with_random_moments

from sparl.layouts import BlockCirculant, Dense, RowSparse, blank, describe, grid, projected
from sparl.learner import Learner, Structure, transport
from sparl.networks import plain
from sparl.topology import Kept, PerLayer

# (out, in, batch): multiples of no size of block, of some, smaller than all.
SHAPES = st.sampled_from([(1, 1, 1), (8, 16, 3), (17, 11, 2)])


def chosen(rng, shape, group, whole) -> Kept:
    """Half of the places of the grid, or all; few counts, for each compiles anew."""
    rows, columns = grid(shape, group)
    count = rows * columns if whole else -(-rows * columns // 2)
    mask = np.zeros(rows * columns, bool)
    mask[rng.permutation(rows * columns)[:count]] = True
    return Kept.of(jnp.asarray(mask.reshape(rows, columns)), count)


@st.composite
def layers(draw):
    """A layer, and a batch of inputs."""
    (out, inputs, batch), group = draw(SHAPES), draw(st.sampled_from([2, 8]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    kept = chosen(rng, (out, inputs), group, draw(st.booleans()))
    weight = normal(rng, len(kept.columns), group)
    layer = BlockCirculant.packed(weight, normal(rng, out), inputs, kept)
    return layer, normal(rng, inputs, batch)


def entries(layer):
    """(stored number, place within c, row, column) of every entry of W that is not left out."""
    starts = np.asarray(layer.row_starts)
    for k, column in enumerate(np.asarray(layer.columns)):
        row = int(np.searchsorted(starts, k, side="right")) - 1
        for r in range(layer.group):
            for s in range(layer.group):
                i, j = row * layer.group + r, int(column) * layer.group + s
                if i < layer.out_features and j < layer.in_features:
                    yield k, (s - r) % layer.group, i, j


def matrix(layer, aligned=None) -> np.ndarray:
    values = np.asarray(layer.weight if aligned is None else aligned, np.float64)
    dense = np.zeros(layer.shape)
    for k, at, i, j in entries(layer):
        dense[i, j] = values[k, at]
    return dense


def magnitudes(layer) -> np.ndarray:
    """Of every entry the largest of its block: in the blocks' spectra all of these meet, those that
    fall on padding, too."""
    largest = np.abs(np.asarray(layer.weight)).max(axis=1, keepdims=True)
    return matrix(layer, np.broadcast_to(largest, layer.weight.shape))


def loss(weight, bias, x, layer):
    """Half the sum of squares: its gradient in y is y itself."""
    y = eqx.tree_at(lambda la: (la.weight, la.bias), layer, (weight, bias)).apply(x)
    return 0.5 * jnp.sum(y**2), y


GRADIENT = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))


def close(got, expected, magnitude) -> bool:
    """Relative to the largest sum of absolute values: among components, rounding does not stay
    with the entries that it came from."""
    difference = np.abs(np.asarray(got, np.float64) - expected)
    return bool((difference <= 1e-5 * np.max(magnitude)).all())


@settings(max_examples=20, deadline=None)
@given(layers())
def test_product_and_gradients_equal_those_of_the_dense_matrix(case):
    layer, x = case
    (by_weight, by_bias, by_x), y = GRADIENT(layer.weight, layer.bias, x, layer)
    w, b = matrix(layer), np.asarray(layer.bias, np.float64)[:, None]
    x = np.asarray(x, np.float64)
    expected, size = w @ x + b, magnitudes(layer) @ np.abs(x) + np.abs(b)
    assert close(y, expected, size)
    sums, sizes = np.zeros(layer.weight.shape), np.zeros(layer.weight.shape)
    dense, dense_size = expected @ x.T, size @ np.abs(x).T
    for k, at, i, j in entries(layer):
        sums[k, at] += dense[i, j]
        sizes[k, at] += dense_size[i, j]
    assert close(by_weight, sums, sizes)
    assert close(by_bias, expected.sum(1), size.sum(1))
    assert close(by_x, w.T @ expected, magnitudes(layer).T @ size)


@settings(max_examples=20, deadline=None)
@given(layers(), st.integers(0, 2**16))
def test_pick_gives_the_nearest_blocks_and_is_idempotent(case, seed):
    layer, _ = case
    assert close(layer.to_dense(), matrix(layer), np.abs(matrix(layer)))
    assert same_bits(layer.active(), matrix(layer, jnp.ones_like(layer.weight)).astype(np.float32))
    # What is circulant already stays, and to the bit where there is no padding.
    again = layer.pick(layer.to_dense())
    used = np.zeros(layer.weight.shape, bool)
    for k, at, _, _ in entries(layer):
        used[k, at] = True
    assert np.allclose(np.asarray(again)[used], np.asarray(layer.weight)[used], rtol=1e-6)
    if layer.out_features % layer.group == 0 == layer.in_features % layer.group:
        assert used.all() and same_bits(again, layer.weight)
    # Of another matrix: the difference to it is orthogonal to all circulant blocks.
    dense = normal(np.random.default_rng(seed), *layer.shape)
    picked = layer.pick(dense)
    rest = np.where(np.asarray(layer.active()) > 0, np.asarray(dense) - matrix(layer, picked), 0.0)
    sums = np.zeros(layer.weight.shape)
    for k, at, i, j in entries(layer):
        sums[k, at] += rest[i, j]
    assert np.abs(sums).max() < 1e-5


def test_kept_weights_macs_and_bytes():
    rng = np.random.default_rng(0)
    whole = BlockCirculant.of(
        normal(rng, 256, 256), jnp.zeros(256), 4, chosen(rng, (256, 256), 4, True)
    )
    assert (whole.kept, whole.copies, whole.macs) == (256 * 256 // 4, 4, 256 * 256)
    assert (whole.index_bytes, whole.stored_bytes) == (0, 4 * (16384 + 256))
    kept = Kept.of(jnp.zeros((64, 64), bool).at[3, 5:15].set(True), 10)
    part = BlockCirculant.of(normal(rng, 256, 256), jnp.zeros(256), 4, kept)
    assert (part.kept, part.macs, part.blocks, part.grid) == (40, 160, 10, (64, 64))
    assert part.stored_bytes == 4 * (40 + 256) + 10 + 4 * 65
    assert part.pattern == "G 4: 10 of 4096"


@settings(max_examples=10, deadline=None)
@given(layers())
def test_first_rows_are_those_of_the_dense_matrix(case):
    layer, _ = case
    for count in {1, (layer.out_features + 1) // 2, layer.out_features}:
        first = layer.first_rows(count)
        assert first.shape == (count, layer.in_features)
        assert same_bits(first.to_dense(), layer.to_dense()[:count])
        assert same_bits(first.bias, layer.bias[:count])


def test_first_rows_without_a_block_are_zeros():
    kept = Kept(jnp.array([1], jnp.int32), jnp.array([0, 0, 1], jnp.int32))
    layer = BlockCirculant.packed(jnp.ones((1, 2)), jnp.arange(4.0), 4, kept)
    first = layer.first_rows(2)
    assert isinstance(first, Dense)  # an empty table is no C
    assert same_bits(first.apply(jnp.ones((4, 1))), np.float32([[0], [1]]))


@settings(max_examples=20, deadline=None)
@given(layers())
def test_a_blank_layer_has_the_shapes_of_the_described_one(case):
    layer, _ = case
    description = json.loads(json.dumps(describe(layer)))
    again = blank(description)
    assert describe(again) == describe(layer)
    assert Structure.of({"n": plain((again,))}) == Structure.of({"n": plain((layer,))})


def test_unit_rows_share_the_length_of_their_blocks():
    rng = np.random.default_rng(0)
    kept = Kept(jnp.array([0, 2, 1], jnp.int32), jnp.array([0, 2, 3, 3], jnp.int32))
    layer = BlockCirculant.of(normal(rng, 12, 12), normal(rng, 12), 4, kept)
    unit = layer.unit_rows(with_bias=True)
    assert same_bits(unit.bias, layer.bias)  # its rows share their weights, not their biases
    before = np.asarray(layer.to_dense(), np.float64)
    lengths = np.sqrt((before**2).sum(1))
    np.testing.assert_allclose(unit.to_dense()[:8], before[:8] / lengths[:8, None], rtol=1e-5)
    assert not np.any(unit.to_dense()[8:])


def carried(before, after, seed=0):
    """A learner with one layer and random moments and target, before and after `carry`; of each
    the layer's weight, target and both moments."""
    from optax import adam

    optimizers = {"critics": adam(1e-3)}
    networks = {"critics": {"q": plain((before,), False)}}
    learner = Learner.start(networks, optimizers, frozenset({"critics"}), {"critics": "critic"})
    learner = with_random_moments(learner, np.random.default_rng(seed))
    moved = transport.carry(learner, {"critics": {"q": plain((after,), False)}})

    def parts(learner):
        part, structure = learner.parts["critics"], learner.structures["critics"]
        state = adam_state(part.optimizer)
        vectors = (part.values, part.target, state.mu, state.nu)
        views = (structure.networks(v, part.indices)["q"].layers[0].weight for v in vectors)
        return [np.asarray(view) for view in views]

    return parts(learner), parts(moved)


def test_carrying_to_single_entries_and_back_loses_nothing():
    """Ungrouping and grouping again, moments in the scale of their gradients."""
    rng = np.random.default_rng(0)
    kept = Kept.of(jnp.zeros((3, 4), bool).at[1].set(True).at[0, 2].set(True), 5)
    grouped = BlockCirculant.packed(normal(rng, 5, 4), normal(rng, 12), 16, kept)
    count = int(grouped.active().sum())
    assert count == 80
    pattern = PerLayer(count)
    places = pattern.select(grouped.active())
    single = RowSparse.of(grouped.to_dense(), grouped.bias, pattern, places)
    before, ungrouped = carried(grouped, single)
    for kind, power in ((0, 0), (1, 0), (2, 1), (3, 2)):
        expected = matrix(grouped, before[kind]) / 4**power
        assert np.array_equal(np.asarray(single.spread(jnp.asarray(ungrouped[kind]))), expected)
    back = BlockCirculant.of(single.to_dense(), single.bias, 4, kept)
    assert same_bits(back.weight, grouped.weight)
    before, again = carried(single, back)
    for kind, power in ((1, 0), (2, 1), (3, 2)):
        dense = np.asarray(single.spread(jnp.asarray(before[kind])))
        expected = np.asarray(back.pick(jnp.asarray(dense))) * 4.0**power
        assert np.array_equal(again[kind], expected)


def test_carrying_to_more_blocks_keeps_the_old_ones_and_zeroes_the_new_ones():
    rng = np.random.default_rng(0)
    few = Kept.of(jnp.zeros((2, 3), bool).at[0, 1].set(True).at[1].set(True), 4)
    more = Kept.of(jnp.ones((2, 3), bool), 6)
    old = BlockCirculant.packed(normal(rng, 4, 4), normal(rng, 8), 12, few)
    new = BlockCirculant.of(old.to_dense(), old.bias, 4, more)
    before, after = carried(old, new)
    there = np.array([1, 3, 4, 5])  # of the six, in their order
    for kind in range(4):
        assert np.array_equal(after[kind][there], before[kind])
        assert not after[kind][[0, 2]].any()


def test_projection_averages_along_wrapped_diagonals():
    dense = jnp.arange(16.0).reshape(4, 4)
    found = projected(dense, 2)
    assert found.shape == (2, 2, 2)
    assert found[0, 1].tolist() == [(2 + 7) / 2, (3 + 6) / 2]
    layer = BlockCirculant.of(dense, jnp.zeros(4), 2, Kept.of(jnp.ones((2, 2), bool), 4))
    assert isinstance(Dense(layer.to_dense(), layer.bias), Dense)
    assert layer.to_dense()[:2, 2:].tolist() == [[4.5, 4.5], [4.5, 4.5]]


@pytest.mark.parametrize("group", [2, 4, 8, 16])
def test_each_row_of_a_block_is_turned_to_the_right(group):
    c = jnp.arange(1.0, group + 1)
    layer = BlockCirculant.packed(
        c[None], jnp.zeros(group), group, Kept.of(jnp.ones((1, 1), bool), 1)
    )
    assert layer.to_dense().tolist() == [np.roll(c, r).tolist() for r in range(group)]
