"""Chains of dense and packed layers, on every instruction set, against float64; networks drawn at
random are in test_wired_kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SETS, assert_close, build, by_column, expected, in_full, pulled, results
from support import same_bits

from sparl import kernels
from sparl.kernels import native, reference
from sparl.topology import NofM, PerLayer, PerRow

pytestmark = pytest.mark.usefixtures("best_instruction_set")


FIXED = {
    "dense": ([70, 129, 67, 3], [None] * 3, 97),
    "dense, wide": ([20, 530, 70, 513, 2], [None, None, NofM(1, 2), None], 40),
    "1:8": ([23, 256, 256, 1], [NofM(1, 8), NofM(1, 8), None], 256),
    "half": ([24, 150, 40], [PerRow(12), PerLayer(3000)], 128),
    "1:8x8": ([23, 256, 300, 1], [NofM(1, 8, 8), NofM(3, 16, 8), NofM(1, 8, 2)], 256),
    "remainders": ([80, 75, 61, 13], [NofM(2, 4, 16), NofM(5, 9, 6), NofM(1, 2, 16)], 97),
    "long batch": ([64, 70, 2], [PerLayer(2000), NofM(2, 4)], 1027),
    "empty rows": ([100, 200, 100, 2], [PerLayer(40), PerLayer(30), PerLayer(1)], 33),
    "full": ([40, 50, 30], [PerRow(40), PerLayer(1500)], 300),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("fixed", FIXED)
def test_larger_networks_on_each_instruction_set(fixed, name):
    if not native.force_instruction_set(name):
        pytest.skip(f"{name} cannot run here")
    net = build(*FIXED[fixed], relu_last=fixed == "half", seed=1)
    assert_close(net, results(net), expected(net))


@pytest.mark.parametrize("batch, relu_last", [(1, True), (33, False), (260, True)])
def test_whole_numbers_are_exact_and_a_sum_of_zero_has_no_gradient(batch, relu_last):
    chosen = [NofM(1, 8, 4), PerLayer(60), None]
    net = build([24, 40, 32, 5], chosen, batch, relu_last, 3, whole=True)
    wanted = expected(net)
    assert all(scale < 2**24 for _, scale in wanted)
    for _ in filter(native.force_instruction_set, SETS):
        for a, (b, _) in zip(in_full(net, results(net)), wanted, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("relu_last", [False, True])
def test_plain_jax_equals_the_kernels(relu_last):
    net = build([24, 90, 40, 3], [PerRow(12), PerLayer(50), NofM(1, 4, 2)], 33, relu_last, 2)
    assert_close(net, results(net, compiled=False), expected(net))


def test_plain_jax_runs_where_the_kernels_cannot_be_used(monkeypatch):
    net = build([3, 4, 2], [NofM(1, 2), None], 5, False, 0)

    def program():  # a function of its own each time: JAX remembers what it has traced
        return str(jax.make_jaxpr(lambda *a: kernels.network(*a))(net.layers, net.x))

    assert "sparl_infer" in program()
    monkeypatch.setattr(native, "usable", lambda: False)
    assert "sparl" not in program()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 100), st.integers(0, 2**16))
def test_places_by_columns_are_the_transposed_places_by_rows(outputs, inputs, percent, seed):
    mask = np.random.default_rng(seed).random((outputs, inputs)) * 100 < percent
    rows, columns = (a.astype(np.int32) for a in mask.nonzero())
    starts = np.cumsum([0, *mask.sum(axis=1)]).astype(np.int32)
    both = jax.jit(lambda c, s: (kernels.places(c, s, inputs), reference.transpose(c, s, inputs)))
    places, by_reference = jax.tree.map(np.asarray, both(columns, starts))
    assert all(map(same_bits, places[2:], by_reference))
    assert all(map(same_bits, places[2:], by_column(columns, starts, inputs)))
    of_entry = np.repeat(np.arange(inputs), np.diff(places.column_starts))
    assert (rows[places.order] == places.rows).all()
    assert (columns[places.order] == of_entry).all()
    assert sorted(places.order) == list(range(len(rows)))


WHOLE, SHARED = (0, 0, 0), (0, 0, None)


@pytest.mark.parametrize("shared", ["", "places", "x", "weight places"])
def test_vmap_equals_one_call_per_network(shared):
    chosen = [PerRow(3), NofM(2, 4, 2), None, PerRow(5)]
    nets = [build([9, 12, 33, 20, 2], chosen, 37, True, seed) for seed in range(3)]

    def common(net):  # what is shared, from the first network
        own, first = ({"x": n.x, "layers": n.layers} for n in (net, nets[0]))
        layers = [
            own._replace(**{f: getattr(first, f) for f in shared.split() if f != "x"})
            for own, first in zip(own["layers"], first["layers"], strict=True)
        ]
        return net._replace(layers=layers, x=(first if "x" in shared else own)["x"])

    nets = [common(net) for net in nets]
    fields = [None if f in shared.split() else 0 for f in ("weight", "bias", "places")]
    axes = (
        [kernels.Layer(*fields, share=layer.share) for layer in nets[0].layers],
        None if "x" in shared else 0,
        0,
    )
    axes[0][2] = axes[0][2]._replace(places=None)  # a dense layer has none

    def stacked(axis, *arrays):
        return arrays[0] if axis is None else jax.tree.map(lambda *a: jnp.stack(a), *arrays)

    operands = jax.tree.map(
        stacked, axes, *(tuple(n[:3]) for n in nets), is_leaf=lambda a: a is None or a == 0
    )
    many = jax.vmap(lambda *a: pulled(*a, nets[0].connections, True), in_axes=axes)
    found = jax.tree.leaves(many(*operands))
    for i, net in enumerate(nets):
        assert all(same_bits(a[i], b) for a, b in zip(found, results(net), strict=True))


def test_only_the_requested_gradients_are_computed():
    net = build([9, 12, 5], [NofM(1, 4), None], 19, False, 4)
    _, *gradients, dx = results(net)
    weights = [layer.weight for layer in net.layers]

    def loss(weights, x):
        layers = [a._replace(weight=w) for a, w in zip(net.layers, weights, strict=True)]
        return jnp.vdot(kernels.network(layers, x), net.dy)

    of_weights, of_x = (jax.jit(jax.grad(loss, argnums=i)) for i in range(2))
    assert all(map(same_bits, of_weights(weights, net.x), gradients[::2]))
    assert same_bits(of_x(weights, net.x), dx)
    # What is not wanted has no features: neither dx there nor the gradient of the values here.
    programs = [str(jax.make_jaxpr(f)(weights, net.x)) for f in (of_weights, of_x)]
    assert ["f32[1,0,19]" in program for program in programs] == [True, False]
    assert ["f32[1,0] " in program for program in programs] == [False, True]


def test_networks_in_one_call_equal_separate_calls():
    patterns = [PerRow(3), NofM(2, 4, 4), None]
    nets = [build([9, 12, 33, 2], patterns, 37, False, seed) for seed in range(3)]
    x, dy = nets[0].x, jnp.stack([net.dy for net in nets])

    def of(values, x):
        members = [
            [la._replace(weight=w, bias=b) for (w, b), la in zip(pairs, net.layers, strict=True)]
            for pairs, net in zip(values, nets, strict=True)
        ]
        return kernels.networks(members, x)

    def together(values, x):
        y, pull = jax.vjp(of, values, x)
        return y, *pull(dy)

    values = [[(la.weight, la.bias) for la in net.layers] for net in nets]
    y, gradients, dx = jax.jit(together)(values, x)
    alone = [results(net._replace(x=x)) for net in nets]
    for i, (one, *gradient, _) in enumerate(alone):
        assert same_bits(y[i], one)
        assert all(map(same_bits, jax.tree.leaves(gradients[i]), gradient))
    np.testing.assert_allclose(dx, sum(one[-1] for one in alone), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="same form"):
        kernels.networks([nets[0].layers, nets[0].layers[:2]], x)


def test_a_column_that_occurs_many_times_in_a_row_is_added_up():
    places = kernels.places(jnp.zeros(40, jnp.int32), jnp.array([0, 40]), 1)
    layer, x = kernels.Layer(jnp.ones(40), jnp.zeros(1), places), jnp.array([[1.0, 2, 3]])
    found = jax.grad(lambda w: kernels.network([layer._replace(weight=w)], x).sum())(layer.weight)
    np.testing.assert_array_equal(found, 6.0)


def test_repetitions_give_the_same_bits():
    net = build(*FIXED["1:8"], relu_last=False, seed=5)
    wanted = results(net)
    assert all(all(map(same_bits, results(net), wanted)) for _ in range(20))
