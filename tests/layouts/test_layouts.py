"""Layouts against a dense reference in float64: products, gradients, coordinates, sizes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import active, normal, same_bits, stored

from sparl import kernels
from sparl.errors import BadFile
from sparl.layouts import Dense, RowSparse, StraightThrough, pack, unpack
from sparl.networks.serialization import indices_of_groups
from sparl.topology import NofM, PerLayer, PerRow

# (out, in, batch) and patterns: few of them, for each combination compiles anew.
SHAPES = st.sampled_from([(1, 1, 1), (8, 16, 1), (6, 11, 9)])
PATTERNS = st.sampled_from(
    [NofM(1, 1), NofM(2, 4), NofM(3, 5, 4), NofM(2, 16, 2), PerRow(3), PerRow(2, 4), PerLayer(7)]
)
LAYOUTS = ["dense", "row-sparse", "straight-through"]


def layer_of(kind, dense, bias, pattern, scores):
    if kind == "dense":
        return Dense(dense, bias)
    layout = {"row-sparse": RowSparse, "straight-through": StraightThrough}[kind]
    return layout.of(dense, bias, pattern, pattern.select(scores))


APPLY = jax.jit(lambda layer, x: layer.apply(x))


@st.composite
def layers(draw, kinds=LAYOUTS):
    """A layer, the dense matrix that it was made of, and a batch of inputs."""
    (out, inputs, batch), pattern = draw(SHAPES), draw(PATTERNS)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    # Scores have nothing to do with the values: layouts take any choice of places.
    dense, bias, scores = normal(rng, out, inputs), normal(rng, out), normal(rng, out, inputs)
    layer = layer_of(draw(st.sampled_from(kinds)), dense, bias, pattern, scores)
    return layer, dense, normal(rng, inputs, batch)


def assert_close(got, expected, magnitude):
    """`magnitude`: the sum of the absolute values of the terms, which rounding is relative to."""
    got, magnitude = np.asarray(got, np.float64), np.asarray(magnitude)
    assert got.shape == expected.shape
    assert (np.abs(got - expected) <= 1e-5 * magnitude).all()


@settings(max_examples=20, deadline=None)
@given(layers())
def test_apply_equals_the_masked_dense_product(case):
    layer, dense, x = case
    w = np.where(active(layer), np.asarray(dense, np.float64), 0.0)
    b, x = np.asarray(layer.bias, np.float64)[:, None], np.asarray(x, np.float64)
    expected = w @ x + b
    magnitude = np.abs(w) @ np.abs(x) + np.abs(b)
    assert_close(APPLY(layer, x.astype(np.float32)), expected, magnitude)
    assert same_bits(layer.to_dense(), w.astype(np.float32))


@settings(max_examples=15, deadline=None)
@given(layers(), st.booleans())
def test_unit_rows_have_length_1_and_the_same_direction(case, with_bias):
    layer, _, _ = case
    before, bias = np.asarray(layer.to_dense(), np.float64), np.asarray(layer.bias, np.float64)
    lengths = np.sqrt((before**2).sum(1) + (bias**2 if with_bias else 0.0))
    lengths[lengths == 0] = 1.0  # an empty row stays
    unit = layer.unit_rows(with_bias)
    np.testing.assert_allclose(unit.to_dense(), before / lengths[:, None], rtol=1e-5, atol=1e-7)
    expected = bias / lengths if with_bias else bias
    np.testing.assert_allclose(unit.bias, expected, rtol=1e-5, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(layers())
def test_gradients_equal_those_of_the_dense_product_where_trained(case):
    layer, dense, x = case

    # Half the sum of squares: its gradient in y is y itself.
    def loss(weight, bias, x):
        trained = eqx.tree_at(lambda la: (la.weight, la.bias), layer, (weight, bias))
        return 0.5 * jnp.sum(trained.apply(x) ** 2)

    by_weight, by_bias, by_x = jax.grad(loss, (0, 1, 2))(layer.weight, layer.bias, x)

    mask = active(layer)
    w = np.where(mask, np.asarray(dense, np.float64), 0.0)
    x = np.asarray(x, np.float64)
    b = np.asarray(layer.bias, np.float64)[:, None]
    y, size = w @ x + b, np.abs(w) @ np.abs(x) + np.abs(b)
    # The mask comes after the product, and straight-through leaves it out: dormant weights learn.
    trained = np.ones_like(mask) if isinstance(layer, StraightThrough) else mask
    assert by_weight.shape == layer.weight.shape
    assert_close(
        stored(layer, by_weight),
        np.where(trained, y @ x.T, 0.0),
        np.where(trained, size @ np.abs(x).T, 0.0),
    )
    assert_close(by_bias, y.sum(1), size.sum(1))
    assert_close(by_x, w.T @ y, np.abs(w).T @ size)


@settings(max_examples=20, deadline=None)
@given(layers(["straight-through"]))
def test_straight_through_equals_its_packed_layer(case):
    layer, dense, x = case
    packed = layer.packed()
    assert isinstance(packed, RowSparse)
    assert same_bits(packed.to_dense(), layer.to_dense())
    # Up to the order of the terms, which the kernels choose themselves.
    w, b = np.abs(np.asarray(layer.to_dense(), np.float64)), np.abs(layer.bias)[:, None]
    assert_close(APPLY(layer, x), np.asarray(APPLY(packed, x), np.float64), w @ np.abs(x) + b)
    assert same_bits(layer.weight, dense)  # dormant weights are stored all the same


def test_straight_through_gradient_reaches_dormant_weights():
    pattern, dense = NofM(1, 2), jnp.array([[3.0, 1.0]])
    layer = StraightThrough.of(dense, jnp.zeros(1), pattern, pattern.select(jnp.abs(dense)))
    x = jnp.array([[5.0], [7.0]])
    assert layer.apply(x).tolist() == [[15.0]]  # the dormant 1.0 is not multiplied by
    by_weight = jax.grad(lambda w: jnp.sum(eqx.tree_at(lambda la: la.weight, layer, w).apply(x)))(
        dense
    )
    assert by_weight.tolist() == [[5.0, 7.0]]


@settings(max_examples=20, deadline=None)
@given(layers(), st.integers(0, 2**16))
def test_spread_and_pick_are_each_others_inverse_on_stored_places(case, seed):
    layer, _, _ = case
    rng = np.random.default_rng(seed)
    aligned, background = normal(rng, *layer.weight.shape), normal(rng, *layer.shape)
    is_stored = active(layer) if isinstance(layer, RowSparse) else np.ones(layer.shape, bool)

    spread = layer.spread(aligned)
    assert same_bits(spread, stored(layer, aligned))
    assert same_bits(layer.pick(spread), aligned)
    over = layer.spread(aligned, background)
    assert same_bits(over, np.where(is_stored, spread, background))
    assert same_bits(layer.spread(layer.pick(background), background), background)
    assert same_bits(layer.spread(aligned, 2.5), np.where(is_stored, spread, np.float32(2.5)))


@settings(max_examples=20, deadline=None)
@given(layers())
def test_active_and_kept_follow_from_the_indices(case):
    layer, _, _ = case
    mask = active(layer)
    assert same_bits(layer.active(), mask.astype(np.float32))
    assert layer.kept == layer.macs == mask.sum()
    assert layer.shape == mask.shape == (layer.out_features, layer.in_features)


def test_packed_rows_take_the_values_at_the_places_given():
    pattern, dense = NofM(2, 4), jnp.array([[1.0, -2.0, 3.0, -4.0], [5.0, 6.0, 7.0, 8.0]])
    kept = pattern.select(jnp.array([[9.0, 0.0, 8.0, 0.0], [0.0, 1.0, 0.0, 1.0]]))
    layer = RowSparse.of(dense, jnp.array([0.5, 0.25]), pattern, kept)
    assert layer.weight.tolist() == [1.0, 3.0, 6.0, 8.0]
    assert layer.columns.tolist() == [0, 2, 1, 3]
    assert layer.row_starts.tolist() == [0, 2, 4]
    assert layer.bias.tolist() == [0.5, 0.25]
    assert layer.apply(jnp.array([[1.0], [10.0], [100.0], [1000.0]])).tolist() == [
        [301.5],
        [8060.25],
    ]


@pytest.mark.parametrize(
    "inputs, pattern, kept, stored_bytes",
    [
        # 3 outputs: 12 bytes of biases, and 4 + 1, 2 or 4 bytes for each kept weight.
        (8, NofM(2, 4), 12, 12 * (4 + 1) + 12),
        (256, NofM(1, 16), 48, 48 * (4 + 1) + 12),
        # Two rows have one set of columns, the third one has its own.
        (256, NofM(1, 16, 2), 48, 48 * 4 + 2 * 16 + 12),
        (257, PerRow(2), 6, 6 * (4 + 2) + 12),
        (257, PerRow(2, 2), 6, 6 * 4 + 2 * 2 * 2 + 12),
        (65_537, PerRow(1), 3, 3 * (4 + 4) + 12),
        # Rows of a layer-wide budget may differ, so that 4 row starts are stored as well.
        (8, PerLayer(5), 5, 5 * (4 + 1) + 12 + 16),
    ],
)
def test_stored_bytes(inputs, pattern, kept, stored_bytes):
    dense, bias = jnp.ones((3, inputs)), jnp.zeros(3)
    packed = RowSparse.of(dense, bias, pattern, pattern.select(dense))
    assert (packed.kept, packed.macs, packed.stored_bytes) == (kept, kept, stored_bytes)
    # What is saved of a straight-through layer is its packed form.
    through = StraightThrough.of(dense, bias, pattern, pattern.select(dense))
    assert (through.kept, through.macs, through.stored_bytes) == (kept, kept, stored_bytes)
    whole = Dense(dense, bias)
    assert (whole.kept, whole.macs) == (3 * inputs, 3 * inputs)
    assert whole.stored_bytes == 4 * 3 * inputs + 12


@pytest.mark.parametrize("layout", [RowSparse, StraightThrough])
@pytest.mark.parametrize(
    "pattern", [NofM(2, 4), NofM(1, 4, 4), PerRow(3), PerRow(2, 3), PerLayer(13)]
)
def test_first_rows_cut_the_other_rows_off(layout, pattern):
    rng = np.random.default_rng(0)
    dense, bias = normal(rng, 6, 10), normal(rng, 6)
    layer = layout.of(dense, bias, pattern, pattern.select(jnp.abs(dense)))
    for count in (1, 3, 6):
        first = layer.first_rows(count)
        assert first.shape == (count, 10)
        assert same_bits(first.to_dense(), layer.to_dense()[:count])
        assert same_bits(first.bias, layer.bias[:count])
        x = normal(rng, 10, 5)
        np.testing.assert_allclose(first.apply(x), layer.apply(x)[:count], rtol=1e-5, atol=1e-6)
        if isinstance(first, RowSparse):  # its pattern still tells how much is stored
            assert first.pattern.count(count, 10) == first.kept


def test_shared_columns_are_stored_once_and_older_files_are_read():
    rng = np.random.default_rng(0)
    dense, bias, pattern = normal(rng, 7, 10), normal(rng, 7), NofM(1, 4, 3)
    layer = RowSparse.of(dense, bias, pattern, pattern.select(jnp.abs(dense)))
    description, arrays = pack(layer)
    per_row = 3
    assert arrays["columns"].shape == (3 * per_row,)  # three groups of rows
    assert layer.index_bytes == arrays["columns"].nbytes
    older = arrays | {"columns": np.asarray(layer.kept_places.columns).astype(np.uint8)}
    assert older["columns"].shape == (7 * per_row,)
    for found in (unpack(description, arrays), unpack(description, older)):
        assert all(map(same_bits, jax.tree.leaves(found), jax.tree.leaves(layer)))
    older["columns"][per_row] += 1  # the second row differs from the first
    with pytest.raises(BadFile, match="3 neighbouring rows must keep the same columns"):
        unpack(description, older)

    # A checkpoint has the same indices in one vector.
    layouts = {"b": [description], "a": [description | {"layout": "dense"}, description]}
    starts = per_row * np.arange(8)
    places = kernels.places(layer.kept_places.columns, jnp.asarray(starts, jnp.int32), 10)
    new, old = (np.concatenate([np.asarray(a) for a in p] * 2) for p in (layer.places, places))
    for indices in (new, old):
        assert same_bits(indices_of_groups(layouts, indices), new)


def test_first_rows_that_keep_nothing_are_zeros():
    dense = jnp.zeros((4, 3)).at[3, 1].set(2.0)
    pattern = PerLayer(1)
    layer = RowSparse.of(dense, jnp.arange(4.0), pattern, pattern.select(dense))
    first = layer.first_rows(2)
    assert same_bits(first.apply(jnp.ones((3, 1))), np.float32([[0], [1]]))


def test_first_rows_of_a_dense_layer():
    rng = np.random.default_rng(0)
    layer = Dense(normal(rng, 4, 3), normal(rng, 4))
    first = layer.first_rows(2)
    assert same_bits(first.weight, layer.weight[:2])
    assert same_bits(first.bias, layer.bias[:2])
