"""Chains of layers within a network that is none: found as they are, and run as one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import observations

from sparl import kernels
from sparl.methods import layer_of, replace_layers
from sparl.networks import Arrays, Stage, Wiring, build, wiring
from sparl.topology import NofM

IN_WORDS = Arrays(
    lambda values: ("joined", *values),
    lambda a, b: ("sum", a, b),
    {name: lambda x, name=name: (name, x) for name in kernels.ACTIVATIONS},
)


@st.composite
def wirings(draw):
    """Stages, and what is given; with more chains than chance would make."""
    stages = []
    for i in range(draw(st.integers(1, 7))):
        values = st.integers(0, i)
        reads = st.one_of(st.just((i,)), st.lists(values, min_size=1, max_size=3).map(tuple))
        activation = draw(st.sampled_from([None, *kernels.ACTIVATIONS]))
        norms = st.sampled_from([None, None, None, "layer", "batch"])
        added = draw(st.none() | st.none() | values)
        stages.append((draw(reads), activation, draw(norms), draw(norms), added))
    some = st.lists(st.integers(0, len(stages)), min_size=1, max_size=2).map(tuple)
    return stages, draw(st.just((len(stages),)) | some)


@given(wirings())
@settings(max_examples=400, deadline=None)
def test_segments_compute_the_same_network(drawn):
    stages, gives = drawn
    wired = Wiring(tuple(Stage(*stage) for stage in stages), gives)

    def normalised(place, i, y):
        return (place, i, y)

    def at_an_end(place, k, y):
        return normalised(place, chains[k][0 if place == "input_norms" else -1], y)

    def in_a_chain(k, y):
        for i in chains[k][:-1]:
            y = ("layer", i, y)
            activation = wired.stages[i].activation
            y = (activation, y) if activation else y
        return ("layer", chains[k][-1], y)

    def plain(i, y):
        return ("layer", i, y)

    found, chains = wired.segments()
    assert [i for chain in chains for i in chain] == list(range(len(wired.stages)))
    assert wiring.run(found, "x", in_a_chain, at_an_end, IN_WORDS) == wiring.run(
        wired, "x", plain, normalised, IN_WORDS
    )


def test_chains_are_as_long_as_possible():
    assert wiring.chain(4).segments()[1] == [(0, 1, 2, 3)]
    assert wiring.simba(2, "relu").segments()[1] == [(0,), (1, 2), (3, 4), (5,)]
    assert wiring.d2rl(3, "relu").segments()[1] == [(0,), (1, 2)]
    assert wiring.feature_tower(2, "swish").segments()[1] == [(0,), (1,)]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_simba_run_chain_by_chain_has_the_gradients_of_its_layers(sparse):
    network = build(jax.random.key(0), (5, 8, 8, 3), False, "simba", "swish")
    dense = [layer.to_dense() for layer in network.layers]
    if sparse:
        kept = [NofM(1, 4).select(jnp.abs(weight)) for weight in dense]
        new = {i: layer_of(dense[i], network.layers[i].bias, kept[i]) for i in range(len(dense))}
        network = replace_layers(network, new)
    x, cotangent = (jnp.asarray(observations(n, 40).T) for n in (5, 3))

    def chain_by_chain(network, x):
        return (network(x) * cotangent).sum()

    def layer_by_layer(network, x):
        def linear(i, y):
            layer = network.layers[i]
            return jnp.matmul(layer.to_dense(), y, precision="highest") + layer.bias[:, None]

        def normalised(place, i, y):
            return network.norm(place, i)(y)

        y = wiring.run(network.wiring, x, linear, normalised, wiring.IN_JAX)
        return (y * cotangent).sum()

    found, wanted = (
        jax.value_and_grad(f, argnums=(0, 1), allow_int=True)(network, x)
        for f in (chain_by_chain, layer_by_layer)
    )
    leaves = zip(*map(jax.tree.leaves, (found, wanted)), strict=True)
    for a, b in leaves:
        if a.dtype == np.float32:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_layers_that_the_kernels_do_not_know_are_run_one_by_one():
    network = build(jax.random.key(0), (5, 8, 8, 3), False, "simba", "relu")
    x = jnp.asarray(observations(5, 9).T)
    wanted = network(x)

    class Unknown(type(network.layers[0])):
        def kernel_form(self):
            return None

    layers = [Unknown(layer.weight, layer.bias) for layer in network.layers]
    np.testing.assert_allclose(network.with_layers(layers)(x), wanted, rtol=1e-5, atol=1e-6)
