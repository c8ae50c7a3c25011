"""Layers of circulant blocks, kept whole or in part, on every instruction set, against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nets import (
    ALL,
    SETS,
    Blocks,
    assert_close,
    assert_compiled_call_refuses,
    assert_eager_call_refuses,
    broken,
    build,
    dense,
    expected,
    pulled,
    results,
)
from support import same_bits

from sparl import kernels
from sparl.kernels import GROUPS, native, reference
from sparl.topology import NofM, PerLayer, PerRow

pytestmark = pytest.mark.usefixtures("best_instruction_set")


def test_a_block_of_four_equals_its_definition():
    layer = build([4, 4], [Blocks(4, ALL)], 1, False, 0).layers[0]
    a, b, c, d = np.asarray(layer.weight[0])
    block = [[a, b, c, d], [d, a, b, c], [c, d, a, b], [b, c, d, a]]
    np.testing.assert_array_equal(dense(layer), block)
    y = kernels.network([layer._replace(bias=jnp.zeros(4))], jnp.eye(4))
    np.testing.assert_allclose(y, block, atol=1e-6)


FIXED = {
    "full": ([23, 96, 100, 3], [Blocks(4, ALL), Blocks(8, ALL), None], 256),
    "pruned": ([50, 128, 90, 2], [Blocks(2, PerLayer(500)), Blocks(16, PerLayer(9)), None], 300),
    "mixed": ([17, 70, 64, 33], [PerRow(5), Blocks(4, NofM(1, 4)), Blocks(8, PerRow(3))], 33),
    "twos": ([40, 64, 7], [Blocks(2, PerRow(20)), Blocks(4, ALL)], 1),
}


@pytest.mark.parametrize("fixed", FIXED)
def test_larger_networks_on_each_instruction_set(fixed):
    net = build(*FIXED[fixed], relu_last=fixed == "mixed", seed=1)
    wanted = expected(net)
    for _ in filter(native.force_instruction_set, SETS):
        assert_close(net, results(net), wanted)
        assert all(map(same_bits, results(net), results(net)))


def test_plain_jax_equals_the_kernels():
    net = build(*FIXED["mixed"], relu_last=True, seed=2)
    assert_close(net, results(net, compiled=False), expected(net))


def test_expand_blocks_turns_the_first_row():
    layers = build([19, 21, 7, 40, 3], [Blocks(g, PerLayer(3)) for g in GROUPS], 1, False, 3).layers
    expand = jax.jit(reference.expand_blocks, static_argnums=(2, 3))
    for layer in layers:
        found = expand(layer.weight, layer.places, layer.bias.shape[0], layer.in_features)
        np.testing.assert_array_equal(found, dense(layer))


def test_without_a_number_of_inputs_all_blocks_are_whole():
    layer = build([8, 5], [Blocks(4, ALL)], 1, False, 0).layers[0]._replace(inputs=None)
    assert kernels.Form.of([layer]) == kernels.Form(
        (8, 5),
        (4,),
        (4,),
        (1,),
        (False,),
        (False,),
        kernels.Connections.chain(1)._replace(gives=(1,)),
    )


CHOSEN = [Blocks(4, PerLayer(6)), PerRow(5), Blocks(2, ALL), None]


def test_vmap_equals_one_call_per_network():
    nets = [build([9, 21, 33, 20, 2], CHOSEN, 37, True, seed) for seed in range(3)]
    operands = jax.tree.map(lambda *a: jnp.stack(a), *(net[:3] for net in nets))
    found = jax.tree.leaves(
        jax.jit(jax.vmap(lambda *a: pulled(*a, nets[0].connections, True)))(*operands)
    )
    for i, net in enumerate(nets):
        assert all(same_bits(a[i], b) for a, b in zip(found, results(net), strict=True))


def test_networks_in_one_call_equal_separate_calls():
    nets = [build([9, 21, 33, 20, 2], CHOSEN, 37, False, seed) for seed in range(3)]
    x, dy = nets[0].x, jnp.stack([net.dy for net in nets])

    def of(values, x):
        members = [
            [la._replace(weight=w, bias=b) for (w, b), la in zip(pairs, net.layers, strict=True)]
            for pairs, net in zip(values, nets, strict=True)
        ]
        return kernels.networks(members, x)

    values = [[(la.weight, la.bias) for la in net.layers] for net in nets]
    y, pull = jax.vjp(of, values, x)
    gradients, dx = pull(dy)
    alone = [results(net._replace(x=x)) for net in nets]
    for i, (one, *gradient, _) in enumerate(alone):
        assert same_bits(y[i], one)
        assert all(map(same_bits, jax.tree.leaves(gradients[i]), gradient))
    np.testing.assert_allclose(dx, sum(one[-1] for one in alone), rtol=1e-5, atol=1e-5)


def test_only_the_requested_gradients_are_computed():
    net = build([9, 12, 5], [Blocks(4, PerLayer(4)), None], 19, False, 4)
    _, *gradients, dx = results(net)

    def loss(weights, x):
        layers = [a._replace(weight=w) for a, w in zip(net.layers, weights, strict=True)]
        return jnp.vdot(kernels.network(layers, x), net.dy)

    weights = [layer.weight for layer in net.layers]
    of_weights, of_x = (jax.jit(jax.grad(loss, argnums=i))(weights, net.x) for i in range(2))
    assert all(map(same_bits, of_weights, gradients[::2]))
    assert same_bits(of_x, dx)


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_inference_equals_the_network(batch):
    net = build([9, 21, 33, 20, 2], CHOSEN, batch, False, 5)
    values, indices = (np.asarray(a[0]) for a in kernels.vectors([net.layers]))
    inference = kernels.Inference(kernels.Form.of(net.layers))
    for _ in filter(native.force_instruction_set, SETS):
        y = inference(values, indices, np.asarray(net.x))
        assert same_bits(y, kernels.network(net.layers, net.x))


# The second layer has 2 x 3 blocks, of which 4 are kept.
MALFORMED = [
    ("columns", 1, -1, "layer 1: a column is outside 0..2"),
    ("columns", 3, 3, "layer 1: a column is outside 0..2"),
    ("row_starts", -1, 5, "layer 1: row_starts ends with 5"),
    ("rows", 0, 2, "layer 1: .*column-wise"),
    ("order", 0, 4, "layer 1: .*column-wise"),
    ("column_starts", -1, 3, "layer 1: column_starts (goes down|ends with 3)"),
    ("weight", None, (4, 2), "layer 1: weight has shape"),
    ("weight", None, (16,), "layer 1: weight has shape"),
    ("row_starts", None, (8,), "layer 1: row_starts has shape"),
    ("column_starts", None, (11,), "layer 1: column_starts has shape"),
]


def whole():
    return build([5, 10, 7], [None, Blocks(4, PerLayer(4))], 7, False, 0)


@pytest.mark.parametrize("array, position, value, message", MALFORMED)
def test_compiled_calls_refuse_malformed_operands(array, position, value, message):
    assert_compiled_call_refuses(broken(whole(), array, position, value), message)


@pytest.mark.parametrize("array, position, value, _", MALFORMED)
def test_eager_calls_refuse_malformed_operands_before_the_kernels(
    array, position, value, _, monkeypatch
):
    assert_eager_call_refuses(broken(whole(), array, position, value), array, monkeypatch)


def test_unsupported_groups_are_refused():
    first, layer = whole().layers
    x = jnp.zeros((5, 7))
    for group in (0, 3, 32, -2):
        with pytest.raises(ValueError, match=f"layer 1: .*2, 4, 8 or 16 rows, not {group}"):
            kernels.network([first, layer._replace(group=group, inputs=10)], x)
    with pytest.raises(ValueError, match="layer 0: a dense layer has no blocks"):
        kernels.network([first._replace(group=4), layer], x)
    with pytest.raises(ValueError, match="layer 1 takes 9 inputs and gets 10"):
        kernels.network([first, layer._replace(inputs=9)], x)
    with pytest.raises(ValueError, match="layer 1: weight has shape"):
        kernels.network([first, layer._replace(group=2)], x)


def test_inference_refuses_arrays_that_do_not_fit():
    layers = whole().layers
    values, indices = (np.asarray(a[0]) for a in kernels.vectors([layers]))
    form, x = kernels.Form.of(layers), np.zeros((5, 1), np.float32)

    def run(values=values, indices=indices, **changes):
        kernels.Inference(form._replace(**changes))(values, indices, x)

    run()
    outside = indices.copy()
    outside[0] = 3
    for wrong, message in [
        ({"groups": (1, 3)}, "layer 1: blocks have 2, 4, 8 or 16 rows, not 3"),
        ({"groups": (2, 4)}, "layer 0: a dense layer has no blocks"),
        ({"groups": (1, 2)}, "values and"),
        ({"values": values[:-1]}, "values and"),
        ({"indices": indices[:-1]}, "values and"),
        ({"indices": outside}, r"layer 1: a column is outside 0\.\.2"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(**wrong)
