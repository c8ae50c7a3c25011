"""Networks of any connections, layers and activations, as one call of the kernels."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import (
    ACTIVATIONS,
    ALL,
    BATCHES,
    SETS,
    Blocks,
    any_pattern,
    assert_close,
    build,
    connections,
    expected,
    pulled,
    results,
)
from support import same_bits

from sparl import kernels
from sparl.kernels import Connections, native
from sparl.methods import RNM
from sparl.networks import BatchNorm, feature_tower, wiring
from sparl.networks import build as build_network
from sparl.topology import NofM, PerLayer, PerRow

pytestmark = pytest.mark.usefixtures("best_instruction_set")


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 4), BATCHES, st.integers(0, 2**16))
def test_output_and_gradients_equal_float64(data, depth, batch, seed):
    connected = data.draw(connections(depth))
    widths = data.draw(st.lists(st.integers(1, 40), min_size=depth + 1, max_size=depth + 1))
    chosen = [data.draw(any_pattern()) for _ in range(depth)]
    normed = data.draw(st.sets(st.integers(0, depth - 1)))
    input_normed = data.draw(st.sets(st.integers(0, depth - 1)))
    norms = {"normed": normed, "input_normed": input_normed}
    net = build(widths, chosen, batch, False, seed, connections=connected, **norms)
    wanted = expected(net)
    for _ in filter(native.force_instruction_set, SETS):  # one compilation serves them all
        assert_close(net, results(net), wanted)


DENSENET = Connections(((0,), (1, 0), (2, 1, 0)), ("swish", "swish", None))
FIXED = {
    "densenet": ([23, 160, 130, 2], [NofM(1, 8), NofM(1, 8), None], 256, DENSENET),
    "d2rl": (
        [23, 96, 100, 64, 3],
        [PerLayer(400), PerRow(9), PerRow(7), None],
        97,
        Connections(((0,), (1, 0), (2, 0), (3,)), ("elu", "elu", "relu", "tanh")),
    ),
    "blocks": (
        [19, 70, 90, 33],
        [Blocks(4, ALL), Blocks(8, PerLayer(40)), Blocks(2, ALL)],
        40,
        Connections(((0,), (0, 1), (1, 2, 2)), ("relu", "tanh", "relu")),
    ),
    "tower": (
        [19, 70, 90, 33],
        [NofM(1, 8), Blocks(8, ALL), None],
        200,
        Connections(((0,), (1, 0), (2, 1, 0)), ("swish", "relu", "swish"), (3, 2, 1, 0)),
    ),
    "behind": ([23, 96, 64, 1], [None, NofM(1, 8), None], 256, Connections.chain(3)),
}
NORMED = {"tower": ({0, 1, 2}, ()), "behind": ((), {0, 1, 2}), "d2rl": ({1}, {0, 2, 3})}


@pytest.mark.parametrize("fixed", FIXED)
def test_larger_networks_on_each_instruction_set_and_in_plain_jax(fixed):
    widths, patterns, batch, connected = FIXED[fixed]
    normed, input_normed = NORMED.get(fixed, ((), ()))
    norms = {"normed": normed, "input_normed": input_normed}
    net = build(widths, patterns, batch, False, 1, connections=connected, **norms)
    wanted = expected(net)
    for _ in filter(native.force_instruction_set, SETS):
        assert_close(net, results(net), wanted)
        assert all(map(same_bits, results(net), results(net)))
    assert_close(net, results(net, compiled=False), wanted)


def test_only_the_requested_gradients_are_computed():
    widths, patterns, batch, connected = FIXED["densenet"]
    net = build(widths, patterns, batch, False, 4, connections=connected)
    _, *gradients, dx = results(net)

    def loss(weights, x):
        layers = [a._replace(weight=w) for a, w in zip(net.layers, weights, strict=True)]
        return jnp.vdot(kernels.network(layers, x, connected), net.dy)

    weights = [layer.weight for layer in net.layers]
    of_weights, of_x = (jax.jit(jax.grad(loss, argnums=i)) for i in range(2))
    assert all(map(same_bits, of_weights(weights, net.x), gradients[::2]))
    assert same_bits(of_x(weights, net.x), dx)


def test_vmap_equals_one_call_per_network():
    widths, patterns, batch, connected = FIXED["blocks"]
    nets = [build(widths, patterns, batch, False, s, connections=connected) for s in range(2)]
    operands = jax.tree.map(lambda *a: jnp.stack(a), *(net[:3] for net in nets))
    found = jax.tree.leaves(jax.jit(jax.vmap(lambda *a: pulled(*a, connected, True)))(*operands))
    for i, net in enumerate(nets):
        assert all(same_bits(a[i], b) for a, b in zip(found, results(net), strict=True))


@pytest.mark.parametrize("activation", ["relu", "swish", "elu", "tanh"])
def test_activations_are_exact_to_rounding_from_the_smallest_to_the_largest(activation):
    sizes = np.logspace(-30, 37, 400)
    x = np.concatenate([-sizes, [0.0], sizes, [np.inf, -np.inf]]).astype(np.float32)
    x = np.concatenate([x, np.linspace(-100, 100, 4001, dtype=np.float32)])
    one = kernels.places(jnp.zeros(1, jnp.int32), jnp.array([0, 1]), 1)
    layer = kernels.Layer(jnp.ones(1), jnp.zeros(1), one)
    connected = Connections(((0,),), (activation,))
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = ACTIVATIONS[activation][0](x.astype(np.float64))
    wanted[np.isneginf(x) & np.isnan(wanted)] = 0  # swish: inf * 0
    for _ in filter(native.force_instruction_set, SETS):
        y = np.asarray(kernels.network([layer], jnp.asarray(x[None]), connected))[0]
        if activation == "swish":  # -inf * 0 for the kernels, too
            y = np.where(np.isneginf(x), 0, y)
        np.testing.assert_allclose(y, wanted, rtol=4e-7, atol=2e-36)
        nan = jnp.full((1, 1), jnp.nan)
        assert np.isnan(kernels.network([layer], nan, connected)).all()


@pytest.mark.parametrize("kind", ["mlp", "densenet", "d2rl"])
def test_a_network_in_one_kernel_equals_its_layers_run_one_by_one(kind):
    dense = build_network(jax.random.key(0), (7, 40, 30, 3), True, kind, "swish")
    networks, _ = RNM("2:4").start(
        {"actor": {"actor": dense}}, jax.random.key(1), {"actor": "actor"}
    )
    network, x = networks["actor"]["actor"], jax.random.normal(jax.random.key(2), (7, 20))
    assert "sparl_infer" in str(jax.make_jaxpr(network)(x))
    one_by_one = wiring.run(
        network.wiring, x, lambda i, y: network.layers[i].apply(y), refused, wiring.IN_JAX
    )
    np.testing.assert_allclose(network(x), jnp.tanh(one_by_one), rtol=2e-5, atol=2e-6)


def refused(place, i, y):
    raise AssertionError("these have no norms")


def test_a_network_that_the_kernels_do_not_know_has_no_connections():
    key = jax.random.key(0)
    simba = jax.eval_shape(lambda: build_network(key, (7, 16, 3), kind="simba"))
    assert simba.connections is simba.whole() is None


def test_batch_norms_refuse_gradients_of_values_and_other_shapes():
    net = build([3, 4, 5], [PerRow(2), None], 2, False, 0, normed=(1,))
    first, last = net.layers

    def loss(weight):
        return jnp.sum(kernels.network([first._replace(weight=weight), last], net.x))

    with pytest.raises(NotImplementedError, match=r"no gradient of the values .*batch norms"):
        jax.grad(loss)(first.weight)
    for i in range(4):
        norm = [*last.norm[:i], jnp.ones(4), *last.norm[i + 1 :]]
        with pytest.raises(ValueError, match="layer 1: its norm has shape"):
            kernels.network([first, last._replace(norm=tuple(norm))], net.x)


def test_a_tower_in_one_kernel_equals_its_layers_run_one_by_one():
    dense = feature_tower(jax.random.key(0), 7, (30, 20, 25), "swish")
    networks, _ = RNM("2:4").start({"a": {"a": dense}}, jax.random.key(1), {"a": "actor"})
    tower, rng = networks["a"]["a"], np.random.default_rng(0)
    norms = tuple(
        BatchNorm(
            *(jnp.asarray(rng.uniform(0.5, 2, norm.gain.size), jnp.float32) for _ in range(4))
        )
        for norm in tower.norms
    )
    tower = replace(tower, norms=norms)
    x, dy = jax.random.normal(jax.random.key(2), (7, 20)), jax.random.normal(jax.random.key(3))

    def one_by_one(x):
        return wiring.run(
            tower.wiring,
            x,
            lambda i, y: tower.layers[i].apply(y),
            lambda place, i, y: tower.norm(place, i)(y),
            wiring.IN_JAX,
        )

    assert str(jax.make_jaxpr(tower)(x)).count("sparl_infer") == 1
    for found, wanted in zip(
        *([f(x), jax.grad(lambda x, f=f: jnp.sum(f(x) ** 2) * dy)(x)] for f in (tower, one_by_one)),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_connections_that_do_not_fit_are_refused():
    layers = build([3, 4, 5], [PerRow(2), None], 1, False, 0).layers
    chain = Connections.chain(2)
    for connected, message in [
        (Connections.chain(3), "2 layers cannot be connected"),
        (chain._replace(activations=("relu",)), "2 layers cannot be connected"),
        (chain._replace(reads=((0,), (1, 0))), "layer 1 takes 4 inputs and gets 7"),
    ]:
        with pytest.raises(ValueError, match=message):
            kernels.network(layers, jnp.zeros((3, 1)), connected)
    good = kernels.Form.of(layers).code
    assert good[:3] == (3, 1, 2)  # three inputs, and one value is given, number 2
    for code, message in [
        ((), "no network has such inputs"),
        ((3,), "what the network gives is cut short"),
        ((3, 0, *good[3:]), "what the network gives is cut short"),
        ((3, 2, 1), "what the network gives is cut short"),
        ((3, 1, 0), "no network is without layers"),
        (good[:-1], "layer 1: its form is cut short"),
        (good[:-4], "layer 1: its form is cut short"),
        ((*good[:-1], 2), "layer 1: it reads value 2, and there are 0..1"),
        ((*good[:-1], 0), "value 1 is read by no layer and not given"),
        ((3, 1, 1, *good[3:]), "value 2 is read by no layer and not given"),
        ((3, 2, 2, 2, *good[3:]), "value 2 is read by no layer and given more than once"),
        ((3, 2, 2, 3, *good[3:]), "value 3 is given, and there are 0..2"),
        ((3, 2, -1, 2, *good[3:]), "value -1 is given, and there are 0..2"),
        ((*good[:6], 17, *good[7:]), "layer 0: from 1 to 16 packed rows share"),
        ((*good[:4], 7, 1, 2, *good[7:]), "layer 0: rows that share .* the same number"),
        ((*good[:7], 9, *good[8:]), "layer 0: there is no activation 9"),
        ((*good[:8], 2, *good[9:]), "layer 0: it has a batch norm or it has none"),
        ((*good[:9], 2, *good[10:]), "layer 0: it has a batch norm or it has none"),
        ((-1, *good[1:]), "no network has such inputs"),
    ]:
        with pytest.raises(ValueError, match=message):
            native._loaded().Inference(code)
