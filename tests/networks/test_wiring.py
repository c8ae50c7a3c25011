"""Networks that are no chains: what they compute, how they are pruned, run and shipped."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from environments import TINY
from policies import layer_of, observations

from sparl import kernels
from sparl.envs import Spaces
from sparl.errors import BadValue
from sparl.exporters import CompiledPolicy, CProgram, compiler, device_network
from sparl.exporters import onnx as onnx_exporter
from sparl.kernels import BATCH_EPSILON
from sparl.layouts import grid
from sparl.methods import RNM, Static
from sparl.methods.common import neurons
from sparl.methods.common.importance import saliency
from sparl.networks import LAYER_EPSILON, BatchNorm, build, feature_tower, layer_names, then
from sparl.policy import Policy

KEY = jax.random.key(0)


def shaken(network):
    """With biases, gains and shifts, means and variances that are not those of a start."""
    leaves, structure = jax.tree.flatten(network)
    keys = jax.random.split(KEY, len(leaves))
    moved = [
        leaf + 0.2 * jax.random.uniform(key, leaf.shape) if leaf.ndim == 1 else leaf
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


def made(kind, activation="relu", sizes=(5, 8, 8, 3), squash=False):
    return shaken(build(KEY, sizes, squash, kind, activation))


def tower_and_actor():
    return then(
        shaken(feature_tower(KEY, 5, (6, 4), "swish")),
        made("densenet", "swish", (15, 8, 8, 3), squash=True),
    )


IN_FLOAT64 = {
    "relu": lambda x: np.maximum(x, 0),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "tanh": np.tanh,
}


def by_hand(kind, network, activation, x):
    """The published definitions, written out in float64."""
    x, act = x.astype(np.float64), IN_FLOAT64[activation]
    layers = [
        (np.asarray(layer.weight, np.float64), np.asarray(layer.bias, np.float64)[:, None])
        for layer in network.layers
    ]
    (w0, b0), (w1, b1), (w2, b2) = layers[:3]
    if kind == "mlp":
        return w2 @ act(w1 @ act(w0 @ x + b0) + b1) + b2
    if kind == "densenet":
        first = np.concatenate([act(w0 @ x + b0), x])
        second = np.concatenate([act(w1 @ first + b1), first])
        return w2 @ second + b2
    if kind == "d2rl":
        first = np.concatenate([act(w0 @ x + b0), x])
        return w2 @ act(w1 @ first + b1) + b2

    def norm(i, y):
        centred = y - y.mean(0)
        y = centred / np.sqrt((centred**2).mean(0) + LAYER_EPSILON)
        gain, shift = (np.asarray(a)[:, None] for a in vars(network.input_norms[i]).values())
        return gain * y + shift

    x = w0 @ x + b0
    for i in (1, 3):
        (inner, b), (outer, c) = layers[i : i + 2]
        x = x + outer @ act(inner @ norm(i, x) + b) + c
    return layers[-1][0] @ norm(5, x) + layers[-1][1]


@pytest.mark.parametrize("activation", kernels.ACTIVATIONS)
@pytest.mark.parametrize("kind", ["mlp", "densenet", "d2rl", "simba"])
def test_each_kind_computes_what_its_paper_defines(kind, activation):
    network, x = made(kind, activation), observations(5, 9).T
    wanted = by_hand(kind, network, activation, x)
    np.testing.assert_allclose(network(jnp.asarray(x)), wanted, rtol=2e-5, atol=2e-5)
    widths = {"simba": [8, 32, 8, 32, 8, 3]}.get(kind, [8, 8, 3])
    assert [layer.out_features for layer in network.layers] == widths


def test_a_tower_gives_all_its_values_normalised_by_running_statistics():
    tower, x = shaken(feature_tower(KEY, 5, (6, 4), "swish")), observations(5, 9).T
    values = x.astype(np.float64)
    for layer, norm in zip(tower.layers, tower.norms, strict=True):
        assert isinstance(norm, BatchNorm)
        y = np.asarray(layer.weight) @ values + np.asarray(layer.bias)[:, None]
        gain, shift, mean, variance = (np.asarray(a)[:, None] for a in vars(norm).values())
        y = gain * (y - mean) / np.sqrt(variance + BATCH_EPSILON) + shift
        values = np.concatenate([IN_FLOAT64["swish"](y), values])
    np.testing.assert_allclose(tower(jnp.asarray(x)), values, rtol=1e-4, atol=1e-5)
    actor = made("d2rl", "relu", (15, 8, 8, 3), squash=True)
    both = then(tower, actor)(jnp.asarray(x))
    np.testing.assert_allclose(both, actor(tower(jnp.asarray(x))), atol=1e-6)


@pytest.mark.parametrize(
    "kind, hidden", [("densenet", [0, 1]), ("d2rl", [0, 1]), ("simba", [1, 3])]
)
def test_cutting_a_neuron_out_removes_it_from_every_layer_that_reads_it(kind, hidden):
    network = made(kind, "swish")
    assert list(neurons.hidden(network)) == hidden
    rng = np.random.default_rng(0)
    masks = [rng.random(width) < 0.5 for width in neurons.widths(network)]
    off = neurons.scale_neurons(network, jnp.asarray(np.concatenate(masks), jnp.float32))
    cut = neurons.keep_neurons(network, [jnp.asarray(np.flatnonzero(mask)) for mask in masks])
    left = tuple(int(mask.sum()) for mask in masks)
    assert neurons.widths(cut) == left and min(left) > 0
    counted = sum(layer.weight.size for layer in cut.layers)
    assert neurons.weights(cut) == neurons.weights_between(network, left) == counted
    x = jnp.asarray(observations(5, 9).T)
    np.testing.assert_allclose(cut(x), off(x), atol=1e-6)
    assert np.abs(off(x) - network(x)).max() > 0.01
    # What is off learns nothing, whatever the activation, for that takes 0 to 0.
    gradient = jax.grad(lambda n: jnp.sum(n(x) ** 2))(off)
    for layer, mask in zip((gradient.layers[i] for i in hidden), masks, strict=True):
        assert not np.asarray(layer.weight)[~mask].any() and np.asarray(layer.weight)[mask].any()


@pytest.mark.parametrize("kind", ["densenet", "d2rl", "simba"])
def test_saliency_of_relus_equals_that_of_their_incoming_rows(kind):
    """Where relu(z) = relu'(z) z, a dL/da is also the sum over a neuron's own row and bias."""
    network, x = made(kind), jnp.asarray(observations(5, 9).T)
    gradient = jax.grad(lambda n: jnp.sum(jnp.sin(n(x))))(network)
    rows = [
        np.sum(network.layers[i].weight * gradient.layers[i].weight, axis=1)
        + network.layers[i].bias * gradient.layers[i].bias
        for i in neurons.hidden(network)
    ]
    found = saliency(network, gradient)
    np.testing.assert_allclose(found, np.abs(np.concatenate(rows)), rtol=1e-3, atol=1e-5)


def test_heads_stay_dense_and_a_tower_has_none():
    method, tower = RNM("2:4"), feature_tower(KEY, 40, (16, 16), "swish")
    densenet, simba = (
        build(KEY, sizes, kind=kind)
        for sizes, kind in (((40, 16, 16, 3), "densenet"), ((5, 16, 16, 3), "simba"))
    )
    assert list(method.patterns(tower, "critic")) == [0, 1]
    assert list(method.patterns(densenet, "critic")) == [0, 1]
    assert list(method.patterns(simba, "critic")) == [1, 2, 3, 4]
    assert layer_names(tower)[-1] == "hidden_1"
    static = Static(sparsity=0.5, sparse_layers="hidden")
    assert static.counts("actor", "actor", tower)[-1] < 16 * 56
    assert static.counts("actor", "actor", build(KEY, (40, 16, 16, 3)))[-1] == 3 * 16


EXPORTED = {
    "swish": lambda: made("mlp", "swish", squash=True),
    "densenet": lambda: made("densenet", "elu", squash=True),
    "d2rl": lambda: made("d2rl", "tanh", squash=True),
    "simba": lambda: made("simba", squash=True),
    "tower": tower_and_actor,
}


NORMED = {
    f"{norm} {place}": lambda norm=norm, place=place: shaken(
        build(KEY, (5, 8, 8, 3), True, "mlp", "swish", norm, place)
    )
    for norm in ("batch", "layer")
    for place in ("before", "behind")
} | {"batch behind blocks": lambda: in_blocks(NORMED["batch behind"]())}


def in_blocks(network):
    """Hidden layers of circulant blocks, into which no norm of inputs can be folded."""
    layers = [
        layer_of(la.weight, la.bias, (4, 1.0), np.ones(grid(la.shape, 4), bool))
        for la in network.layers[:-1]
    ]
    return network.with_layers([*layers, network.layers[-1]])


def policy_of(name, sparse):
    network = (EXPORTED | NORMED)[name]()
    if sparse:
        method = RNM("2:4", sparse_layers="all")
        parts, _ = method.start({"actor": {"actor": network}}, KEY, {"actor": "actor"})
        network = parts["actor"]["actor"]
    spaces = Spaces((5,), (3,), (-1.0,) * 3, (2.0,) * 3)
    return Policy(network, spaces, observations(5, 8))


@pytest.mark.skipif(compiler() is None, reason="needs a C compiler: cc, gcc or clang")
@pytest.mark.parametrize(
    "name, sparse",
    [
        *((n, False) for n in EXPORTED | NORMED),
        ("simba", True),
        ("batch behind", True),
        ("batch before", True),
    ],
)
def test_exported_c_gives_what_the_policy_gives(name, sparse, tmp_path):
    policy, tried = policy_of(name, sparse), observations(5, 1000)
    wanted = policy.outputs(tried)
    for dtype, near in (("float32", 1e-5), ("float16", 2e-2), ("int8", 0.15)):
        program = CProgram(policy, device_network(policy, dtype, tried))
        folder = tmp_path / dtype
        folder.mkdir()
        program.write(folder)
        compiled = CompiledPolicy(program, folder, folder / "policy.so", compiler())
        found = compiled.outputs(tried)
        assert np.abs(found - wanted).max() < near
        assert compiled.failed_test() == 0
        emulated = program.network.outputs(tried)
        off = np.abs(found - emulated).max(axis=1)
        assert off.max() <= program.network.tolerance(emulated) and np.mean(off > 1e-4) < 0.02
        refused = tried[:1].copy()
        refused[0, 2] = np.nan
        assert np.isnan(compiled.outputs(refused)).all()
        if policy.network.wiring.stages[0].input_norm == "layer":  # of which there is none then
            assert np.isnan(compiled.outputs(np.full_like(refused, 3e38))).all()


def test_norms_of_inputs_are_folded_where_the_layout_lets():
    policy = policy_of("batch behind", False)
    folded = device_network(policy, "float32")
    assert not any(folded.input_arrays) and "affine" not in folded.parts
    kept = device_network(policy_of("batch behind blocks", False), "float32")
    assert [sorted(arrays) for arrays in kept.input_arrays] == [["offset", "stretch"]] * 2 + [[]]


@pytest.mark.parametrize("name", EXPORTED | NORMED)
def test_onnxruntime_gives_what_the_policy_gives(name):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    policy, tried = policy_of(name, False), observations(5, 1000)
    session = onnx_exporter.session(onnx_exporter.model(policy).SerializeToString())
    (found,) = session.run(["action"], {"observation": tried})
    assert np.abs(found - policy.predict(tried)[0]).max() < 1e-5


@pytest.mark.parametrize("name", EXPORTED | NORMED)
def test_a_saved_policy_acts_as_it_did(name, tmp_path):
    policy = policy_of(name, True)
    policy.save(tmp_path)
    again, tried = Policy.load(tmp_path), observations(5, 20)
    assert np.array_equal(again.outputs(tried), policy.outputs(tried))
    assert again.network.wiring == policy.network.wiring


def test_a_simba_has_one_width():
    with pytest.raises(BadValue, match="hidden is 8 16: a simba has one width throughout"):
        replace(TINY, network="simba", hidden=(8, 16))
    with pytest.raises(BadValue, match="network is 'resnet'"):
        replace(TINY, network="resnet")
    with pytest.raises(BadValue, match="activation is 'gelu'"):
        replace(TINY, activation="gelu")
