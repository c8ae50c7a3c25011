"""Networks whose batch norms go by the batch, as they are trained, against JAX's derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import ALL, BATCHES, SETS, Blocks, any_pattern, build, connections, dense
from support import same_bits

from sparl import kernels
from sparl.kernels import BATCH_EPSILON, Connections, native, reference
from sparl.topology import NofM, PerRow

pytestmark = pytest.mark.usefixtures("best_instruction_set")


def normed(widths, patterns, batch, seed, connected):
    every = range(len(patterns))
    return build(widths, patterns, batch, False, seed, connections=connected, normed=every)


def trainable(net):
    return [(layer.weight, layer.bias, layer.norm) for layer in net.layers]


def results(net):
    """y, mean and variance of each layer, the gradients of all that `trainable` has, and dx."""

    @jax.jit
    def run(values, x, dy):
        def apply(values, x):
            pairs = zip(net.layers, values, strict=True)
            layers = [a._replace(weight=w, bias=b, norm=n) for a, (w, b, n) in pairs]
            return kernels.by_batch(layers, x, net.connections)

        y, pull, moments = jax.vjp(apply, values, x, has_aux=True)
        return y, moments, pull(dy)

    y, moments, (gradients, dx) = run(trainable(net), net.x, net.dy)
    return y, moments, gradients, dx


def expected(net):
    """The same in float64, of layers as matrices: the gradients of weights are of all entries."""
    with jax.enable_x64(True):
        layers = [
            tuple(np.asarray(a, np.float64) for a in (dense(layer), layer.bias, *layer.norm[:2]))
            for layer in net.layers
        ]
        x, dy = np.asarray(net.x, np.float64), np.asarray(net.dy, np.float64)

        def apply(layers, x):
            read, activations, gives = net.connections
            values, moments = [x], []
            for (weight, bias, gain, shift), reads, activation in zip(
                layers, read, activations, strict=True
            ):
                z = weight @ jnp.concatenate([values[v] for v in reads]) + bias[:, None]
                moments.append((z.mean(1), z.var(1)))
                z = (z - z.mean(1, keepdims=True)) / jnp.sqrt(
                    z.var(1, keepdims=True) + BATCH_EPSILON
                )
                z = gain[:, None] * z + shift[:, None]
                values.append(z if activation is None else reference.ACTIVATIONS[activation](z))
            return jnp.concatenate([values[v] for v in gives or (len(layers),)]), moments

        @jax.jit
        def run(layers, x, dy):
            y, pull, moments = jax.vjp(apply, layers, x, has_aux=True)
            return y, moments, *pull(dy)

        return jax.tree.map(np.asarray, run(layers, x, dy))


def assert_close(found, wanted, slack):
    # Norms take nearly all of a gradient away where a batch has few values: what is left is small
    # beside the terms of order 1 that rounding goes by.
    scale = np.max(np.abs(wanted), initial=1)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=slack * scale)


def assert_as_expected(net, slack):
    y, moments, gradients, dx = results(net)
    wanted_y, wanted_moments, wanted, wanted_dx = expected(net)
    assert_close(y, wanted_y, slack)
    assert_close(dx, wanted_dx, slack)
    for layer, seen, wanted_seen, of_layer, wanted_of_layer in zip(
        net.layers, moments, wanted_moments, gradients, wanted, strict=True
    ):
        for a, b in zip(seen, wanted_seen, strict=True):
            assert_close(a, b, slack)
        of_weight, of_bias, (of_gain, of_shift, *of_running) = of_layer
        full, _, wanted_gain, wanted_shift = wanted_of_layer
        if layer.group == 1:
            kept = dense(layer, jnp.ones_like(layer.weight))
            assert_close(dense(layer, of_weight), full * kept, slack)
        else:
            assert_close(of_weight, along_blocks(layer, full), slack)
        assert_close(of_gain, wanted_gain, slack)
        assert_close(of_shift, wanted_shift, slack)
        for nothing in (of_bias, *of_running):
            assert not nothing.any()


def along_blocks(layer, full):
    """The gradient of circulant blocks, from that of all entries of W."""
    numbers = jnp.arange(layer.weight.size, dtype=jnp.float32).reshape(layer.weight.shape)
    which = dense(layer, numbers).astype(int)
    stored = dense(layer, jnp.ones_like(layer.weight)) > 0
    counted = np.bincount(which[stored], full[stored], minlength=layer.weight.size)
    return counted.reshape(layer.weight.shape)


@settings(max_examples=12, deadline=None)
@given(st.data(), st.integers(1, 3), BATCHES.filter(lambda batch: batch > 4), st.integers(0, 2**16))
def test_output_statistics_and_gradients_equal_plain_jax(data, depth, batch, seed):
    connected = data.draw(connections(depth))
    widths = data.draw(st.lists(st.integers(1, 40), min_size=depth + 1, max_size=depth + 1))
    net = normed(widths, [data.draw(any_pattern()) for _ in range(depth)], batch, seed, connected)
    assert_as_expected(net, 1e-3)


TOWER = Connections(((0,), (1, 0), (2, 1, 0)), ("swish", "relu", "swish"), (3, 2, 1, 0))
WIDTHS, PATTERNS = [19, 70, 90, 33], [NofM(1, 8), Blocks(8, ALL), None]


@pytest.mark.parametrize("batch", [200, 256])
def test_a_larger_tower_on_each_instruction_set(batch):
    net = normed(WIDTHS, PATTERNS, batch, 1, TOWER)
    for _ in filter(native.force_instruction_set, SETS):
        assert_as_expected(net, 2e-5)
        first, again = (jax.tree.leaves(results(net)) for _ in range(2))
        assert all(map(same_bits, first, again))


def test_a_batch_of_one_sample_gives_the_shift():
    net = normed([3, 5, 4], [None, PerRow(2)], 1, 0, Connections.chain(2, relu_last=True))
    y, moments, gradients, dx = results(net)
    wanted = np.maximum(net.layers[1].norm[1], 0)  # the shift is all that is left
    np.testing.assert_allclose(y[:, 0], wanted, atol=1e-5)
    assert not moments[0][1].any() and not dx.any()
    assert not gradients[0][0].any() and gradients[1][2][1].any()


def test_a_gradient_does_not_depend_on_which_others_are_requested():
    net = normed(WIDTHS, PATTERNS, 40, 2, TOWER)
    _, _, gradients, dx = results(net)

    def loss(weight, x):
        layers = [net.layers[0]._replace(weight=weight), *net.layers[1:]]
        return jnp.vdot(kernels.by_batch(layers, x, TOWER)[0], net.dy)

    of_weight, of_x = (jax.jit(jax.grad(loss, argnums=i)) for i in range(2))
    weight = net.layers[0].weight
    assert same_bits(of_weight(weight, net.x), gradients[0][0])
    assert same_bits(of_x(weight, net.x), dx)


def test_statistics_have_no_gradient():
    net = normed(WIDTHS, PATTERNS, 40, 2, TOWER)

    def seen(x):
        _, moments = kernels.by_batch(net.layers, x, TOWER)
        return sum(jnp.sum(mean + variance) for mean, variance in moments)

    assert not jax.grad(seen)(net.x).any()


def test_vmap_equals_one_call_per_network():
    nets = [normed(WIDTHS, PATTERNS, 33, seed, TOWER) for seed in range(2)]
    operands = jax.tree.map(lambda *a: jnp.stack(a), *(net[:2] for net in nets))

    def run(layers, x):
        def loss(x):
            y, moments = kernels.by_batch(layers, x, TOWER)
            return jnp.sum(y**2), moments

        return jax.grad(loss, has_aux=True)(x)

    found = jax.tree.leaves(jax.jit(jax.vmap(run))(*operands))
    for i, net in enumerate(nets):
        alone = jax.tree.leaves(jax.jit(run)(net.layers, net.x))
        assert all(same_bits(a[i], b) for a, b in zip(found, alone, strict=True))


def test_shapes_that_do_not_fit_are_refused():
    net = normed(WIDTHS, PATTERNS, 5, 0, TOWER)
    first, *others = net.layers
    with pytest.raises(ValueError, match="layer 0 has no batch norm to train"):
        kernels.by_batch([first._replace(norm=None), *others], net.x, TOWER)
    with pytest.raises(ValueError, match="layer 0 takes 19 inputs and gets 18"):
        kernels.by_batch(net.layers, net.x[1:], TOWER)
    with pytest.raises(ValueError, match="layer 0: its norm has shape"):
        norm = (*first.norm[:3], jnp.ones(3))
        kernels.by_batch([first._replace(norm=norm), *others], net.x, TOWER)
