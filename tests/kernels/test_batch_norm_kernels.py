"""Networks whose batch norms go by the batch, as they are trained, against JAX's derivatives."""

from functools import partial

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


def normed(widths, patterns, batch, seed, connected, inputs=()):
    """Every layer's sums have a norm, or the inputs of those in `inputs` and no sums."""
    every = range(len(patterns))
    places = {"input_normed": inputs} if inputs else {"normed": every}
    return build(widths, patterns, batch, False, seed, connections=connected, **places)


def trainable(net):
    return [(la.weight, la.bias, la.norm, la.input_norm) for la in net.layers]


def results(net, renormalise=False, samples=None):
    """y of the first samples, what the norms have seen, the gradients of all that `trainable`
    has, and dx."""

    @jax.jit
    def run(values, x, dy):
        def apply(values, x):
            names = ("weight", "bias", "norm", "input_norm")
            pairs = zip(net.layers, values, strict=True)
            layers = [a._replace(**dict(zip(names, v, strict=True))) for a, v in pairs]
            (y,), (seen,) = kernels.by_batch([layers], x, net.connections, renormalise, samples)
            return y, seen

        y, pull, seen = jax.vjp(apply, values, x, has_aux=True)
        return y, seen, pull(dy)

    y, seen, (gradients, dx) = run(trainable(net), net.x, net.dy[:, :samples])
    return y, seen, gradients, dx


def normalise(z, norm, renormalise):
    """What a norm makes of z, with the statistics that it uses; in float64."""
    gain, shift, running_mean, running_variance = norm
    mean, variance = z.mean(1), z.var(1)
    rate = 1 / jnp.sqrt(variance + BATCH_EPSILON)
    result = (z - mean[:, None]) * rate[:, None]
    if renormalise:
        running_rate = 1 / jnp.sqrt(running_variance + BATCH_EPSILON)
        r = jnp.clip(jax.lax.stop_gradient(running_rate / rate), 1 / 3, 3)
        d = jax.lax.stop_gradient((mean - running_mean) * running_rate)
        result = result * r[:, None] + jnp.clip(d, -5, 5)[:, None]
    return gain[:, None] * result + shift[:, None], (mean, variance)


def expected(net, renormalise=False, samples=None):
    """The same in float64, of layers as matrices: the gradients of weights are of all entries."""
    with jax.enable_x64(True):
        doubled = partial(jax.tree.map, lambda a: np.asarray(a, np.float64))
        layers = [
            (dense(layer), *doubled((layer.bias, layer.norm, layer.input_norm)))
            for layer in net.layers
        ]
        x, dy = np.asarray(net.x, np.float64), np.asarray(net.dy[:, :samples], np.float64)

        def apply(layers, x):
            read, activations, gives = net.connections
            values, seen = [x], ([], [])
            for (weight, bias, norm, input_norm), reads, activation in zip(
                layers, read, activations, strict=True
            ):
                z, used = jnp.concatenate([values[v] for v in reads]), None
                if input_norm is not None:
                    z, used = normalise(z, input_norm, renormalise)
                seen[1].append(used)
                z, used = weight @ z + bias[:, None], None
                if norm is not None:
                    z, used = normalise(z, norm, renormalise)
                seen[0].append(used)
                values.append(z if activation is None else reference.ACTIVATIONS[activation](z))
            y = jnp.concatenate([values[v] for v in gives or (len(layers),)])
            return y[:, :samples], seen

        @jax.jit
        def run(layers, x, dy):
            y, pull, seen = jax.vjp(apply, layers, x, has_aux=True)
            return y, seen, *pull(dy)

        return jax.tree.map(np.asarray, run(layers, x, dy))


def assert_close(found, wanted, slack):
    # Norms take nearly all of a gradient away where a batch has few values: what is left is small
    # beside the terms of order 1 that rounding goes by.
    scale = np.max(np.abs(wanted), initial=1)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=slack * scale)


def assert_as_expected(net, slack, renormalise=False, samples=None):
    y, seen, gradients, dx = results(net, renormalise, samples)
    wanted_y, wanted_seen, wanted, wanted_dx = expected(net, renormalise, samples)
    assert_close(y, wanted_y, slack)
    assert_close(dx, wanted_dx, slack)
    for a, b in zip(jax.tree.leaves(seen), jax.tree.leaves(wanted_seen), strict=True):
        assert_close(a, b, slack)
    for layer, of_layer, wanted_of_layer in zip(net.layers, gradients, wanted, strict=True):
        of_weight, of_bias, *of_norms = of_layer
        full, wanted_bias, *wanted_norms = wanted_of_layer
        if layer.group == 1:
            kept = dense(layer, jnp.ones_like(layer.weight))
            assert_close(dense(layer, of_weight), full * kept, slack)
        else:
            assert_close(of_weight, along_blocks(layer, full), slack)
        for found, of_norm in zip(of_norms, wanted_norms, strict=True):
            for a, b in zip(found or (), of_norm or (), strict=True):
                assert_close(a, b, slack)
            assert not any(a.any() for a in (found or ())[2:])
        if layer.norm is None:
            assert_close(of_bias, wanted_bias, slack)
        else:
            assert not of_bias.any()


def along_blocks(layer, full):
    """The gradient of circulant blocks, from that of all entries of W."""
    numbers = jnp.arange(layer.weight.size, dtype=jnp.float32).reshape(layer.weight.shape)
    which = dense(layer, numbers).astype(int)
    stored = dense(layer, jnp.ones_like(layer.weight)) > 0
    counted = np.bincount(which[stored], full[stored], minlength=layer.weight.size)
    return counted.reshape(layer.weight.shape)


@settings(max_examples=8, deadline=None)
@given(st.data(), st.integers(1, 3), BATCHES.filter(lambda batch: batch > 4), st.integers(0, 2**16))
def test_output_statistics_and_gradients_equal_plain_jax(data, depth, batch, seed):
    connected = data.draw(connections(depth))
    widths = data.draw(st.lists(st.integers(1, 40), min_size=depth + 1, max_size=depth + 1))
    patterns = [data.draw(any_pattern()) for _ in range(depth)]
    inputs = data.draw(st.sets(st.integers(0, depth - 1)))
    net = normed(widths, patterns, batch, seed, connected, inputs)
    samples = data.draw(st.none() | st.integers(1, batch))
    assert_as_expected(net, 1e-3, data.draw(st.booleans()), samples)


TOWER = Connections(((0,), (1, 0), (2, 1, 0)), ("swish", "relu", "swish"), (3, 2, 1, 0))
WIDTHS, PATTERNS = [19, 70, 90, 33], [NofM(1, 8), Blocks(8, ALL), None]


@pytest.mark.parametrize(
    "batch, inputs, renormalise, samples",
    [
        (200, (), False, None),
        (256, (), True, 100),
        (200, (0, 1, 2), True, 64),
        (256, (0, 1, 2), False, None),
    ],
)
def test_a_larger_tower_on_each_instruction_set(batch, inputs, renormalise, samples):
    net = normed(WIDTHS, PATTERNS, batch, 1, TOWER, inputs)
    for _ in filter(native.force_instruction_set, SETS):
        assert_as_expected(net, 3e-5, renormalise, samples)
        first, again = (jax.tree.leaves(results(net, samples=samples)) for _ in range(2))
        assert all(map(same_bits, first, again))


def test_a_batch_of_one_sample_gives_the_shift():
    net = normed([3, 5, 4], [None, PerRow(2)], 1, 0, Connections.chain(2, relu_last=True))
    y, seen, gradients, dx = results(net)
    wanted = np.maximum(net.layers[1].norm[1], 0)  # the shift is all that is left
    np.testing.assert_allclose(y[:, 0], wanted, atol=1e-5)
    assert not seen.sums[0].variance.any() and not dx.any()
    assert not gradients[0][0].any() and gradients[1][2][1].any()


def test_a_gradient_does_not_depend_on_which_others_are_requested():
    net = normed(WIDTHS, PATTERNS, 40, 2, TOWER)
    _, _, gradients, dx = results(net)

    def loss(weight, x):
        layers = [net.layers[0]._replace(weight=weight), *net.layers[1:]]
        return jnp.vdot(kernels.by_batch([layers], x, TOWER)[0][0], net.dy)

    of_weight, of_x = (jax.jit(jax.grad(loss, argnums=i)) for i in range(2))
    weight = net.layers[0].weight
    assert same_bits(of_weight(weight, net.x), gradients[0][0])
    assert same_bits(of_x(weight, net.x), dx)


def test_statistics_have_no_gradient():
    net = normed(WIDTHS, PATTERNS, 40, 2, TOWER)

    def seen(x):
        _, (found,) = kernels.by_batch([net.layers], x, TOWER)
        return sum(jnp.sum(mean + variance) for mean, variance in found.sums)

    assert not jax.grad(seen)(net.x).any()


def test_vmap_equals_one_call_per_network():
    nets = [normed(WIDTHS, PATTERNS, 33, seed, TOWER) for seed in range(2)]
    operands = jax.tree.map(lambda *a: jnp.stack(a), *(net[:2] for net in nets))

    def run(layers, x):
        def loss(x):
            y, seen = kernels.by_batch([layers], x, TOWER)
            return jnp.sum(y**2), seen

        return jax.grad(loss, has_aux=True)(x)

    found = jax.tree.leaves(jax.jit(jax.vmap(run))(*operands))
    for i, net in enumerate(nets):
        alone = jax.tree.leaves(jax.jit(run)(net.layers, net.x))
        assert all(same_bits(a[i], b) for a, b in zip(found, alone, strict=True))


@pytest.mark.parametrize("inputs", [(), (0, 2)], ids=["sums", "inputs"])
def test_several_networks_in_one_call_equal_each_alone(inputs):
    nets = [normed(WIDTHS, PATTERNS, 48, seed, TOWER, inputs) for seed in range(3)]

    def run(members, dy):
        def loss(members):
            y, seen = kernels.by_batch(members, nets[0].x, TOWER, True)
            return jnp.sum(y * dy), (y, seen)

        (_, (y, seen)), gradients = jax.value_and_grad(loss, has_aux=True, allow_int=True)(members)
        return [(y[i], seen[i], gradients[i]) for i in range(len(members))]

    together = jax.jit(run)([net.layers for net in nets], nets[0].dy)
    for net, of_net in zip(nets, together, strict=True):
        (alone,) = jax.jit(run)([net.layers], nets[0].dy)
        pairs = zip(jax.tree.leaves(of_net), jax.tree.leaves(alone), strict=True)
        assert all(same_bits(a, b) for a, b in pairs if a.dtype == np.float32)


def test_shapes_that_do_not_fit_are_refused():
    net = normed(WIDTHS, PATTERNS, 5, 0, TOWER)
    first, *others = net.layers
    bare = [layer._replace(norm=None) for layer in net.layers]
    with pytest.raises(ValueError, match="no batch norm to train"):
        kernels.by_batch([bare], net.x, TOWER)
    with pytest.raises(ValueError, match="must have the same form"):
        kernels.by_batch([net.layers, bare], net.x, TOWER)
    with pytest.raises(ValueError, match="layer 0 takes 19 inputs and gets 18"):
        kernels.by_batch([net.layers], net.x[1:], TOWER)
    with pytest.raises(ValueError, match="layer 0: its norm has shape"):
        norm = (*first.norm[:3], jnp.ones(3))
        kernels.by_batch([[first._replace(norm=norm), *others]], net.x, TOWER)
