"""Networks of layers of every kind for tests, and a plain float64 reference for them."""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from sparl import kernels
from sparl.kernels import BATCH_EPSILON, GROUPS, native
from sparl.topology import NofM, PerLayer, PerRow

SETS = ["avx512", "avx2+fma", "portable", "neon"]
ALL = PerLayer(2**20)  # all blocks of any layer here
BATCHES = st.sampled_from([1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 64, 65, 70])


class Net(NamedTuple):
    layers: list[kernels.Layer]
    x: jax.Array
    dy: jax.Array
    connections: kernels.Connections


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# Values and slopes in NumPy, by the sums.
ACTIVATIONS = {
    None: (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "swish": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(z)), lambda z: np.where(z > 0, 1, np.exp(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


class Blocks(NamedTuple):
    """Circulant blocks, of which a pattern chooses among their grid."""

    group: int
    pattern: NofM | PerRow | PerLayer


def by_column(columns, row_starts, width):
    """Rows, starts and numbers of the kept values, column by column; the slow and obvious way."""
    entries = [[] for _ in range(width)]
    for row, (first, end) in enumerate(itertools.pairwise(row_starts.tolist())):
        for k in range(first, end):
            entries[columns[k]].append((row, k))
    flat = np.array([e for column in entries for e in column], np.int32).reshape(-1, 2)
    starts = np.cumsum([0, *map(len, entries)]).astype(np.int32)
    return flat[:, 0].copy(), starts, flat[:, 1].copy()


def dense(layer, weight=None):
    """A layer's weights, or something aligned with them, as a float64 matrix."""
    weight = np.asarray(layer.weight if weight is None else weight, np.float64)
    if layer.places is None:
        return weight
    matrix = np.zeros((layer.bias.shape[0], layer.in_features))
    for k, row, column in entries(layer):
        matrix[row, column] = weight[k]
    return matrix


def entries(layer):
    """(which weight, row, column) of every entry of W that is stored."""
    columns, starts = np.asarray(layer.places.columns), np.asarray(layer.places.row_starts)
    if layer.share > 1:
        of_rows = [
            columns[starts[row // layer.share] : starts[row // layer.share + 1]]
            for row in range(layer.bias.shape[0])
        ]
        places = ((row, column) for row, kept in enumerate(of_rows) for column in kept)
        yield from ((k, row, column) for k, (row, column) in enumerate(places))
        return
    for block_row, (first, end) in enumerate(itertools.pairwise(starts)):
        for k in range(first, end):
            if layer.group == 1:
                yield k, block_row, columns[k]
                continue
            for r, s in itertools.product(range(layer.group), repeat=2):
                row, column = layer.group * block_row + r, layer.group * columns[k] + s
                if row < layer.bias.shape[0] and column < layer.in_features:
                    yield (k, (s - r) % layer.group), row, column


def gradient_of(layer, full, scale):
    """That of the weights, as a matrix unless they are circulant, from that of all entries of W."""
    if layer.group == 1:
        return full * (dense(layer, layer.weight * 0 + 1) != 0), scale
    gradient = np.zeros(layer.weight.shape)
    for k, row, column in entries(layer):
        gradient[k] += full[row, column]
    return gradient, layer.group * scale


def broken(net, array, position, value):
    """`net` with one number, or the shape of one array, of its second layer changed."""
    first, layer = net.layers
    whole = {**layer._asdict(), **layer.places._asdict()}
    whole[array] = (
        jnp.zeros(value, whole[array].dtype)
        if position is None
        else whole[array].at[position].set(value)
    )
    places = kernels.Places(*(whole[name] for name in kernels.Places._fields))
    return net._replace(layers=[first, layer._replace(weight=whole["weight"], places=places)])


def assert_compiled_call_refuses(net, message):
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match=message):
        results(net)


def assert_eager_call_refuses(net, array, monkeypatch):
    """Before the kernels are called."""
    monkeypatch.setattr(native, "call", lambda *_: pytest.fail("the kernels were called"))
    with pytest.raises(ValueError, match=f"layer 1: {array}"):
        kernels.network(net.layers, net.x, net.connections)


def build(
    widths,
    patterns,
    batch,
    relu_last,
    seed,
    whole=False,
    connections=None,
    normed=(),
    input_normed=(),
) -> Net:
    """A network of random numbers, small whole ones (so that every sum is exact) with `whole`;
    connected as a chain where nothing else is said. `widths` are those of all values, `normed` the
    layers with a batch norm of their sums, `input_normed` those with one of their inputs."""
    rng = np.random.default_rng(seed)
    connections = connections or kernels.Connections.chain(len(patterns), relu_last)

    def numbers(*shape):
        drawn = rng.integers(-2, 3, shape) if whole else rng.normal(size=shape)
        return drawn.astype(np.float32)

    inputs = [sum(widths[value] for value in reads) for reads in connections.reads]
    shapes = list(zip(widths[1:], inputs, strict=True))
    # One compilation for the choices of all layers.
    groups = [p.group if isinstance(p, Blocks) else 1 for p in patterns]
    shares = [p.v if isinstance(p, NofM) else 1 for p in patterns]
    grids = [[-(-n // g) for n in shape] for shape, g in zip(shapes, groups, strict=True)]
    among = [p.pattern if isinstance(p, Blocks) else p for p in patterns]
    select = jax.jit(lambda s: [p and p.select(a) for p, a in zip(among, s, strict=True)])
    chosen = select([rng.normal(size=grid).astype(np.float32) for grid in grids])
    layers = []
    x = numbers(widths[0], batch)
    values = [x]
    for i, ((outputs, inputs), kept, group, share) in enumerate(
        zip(shapes, chosen, groups, shares, strict=True)
    ):
        places, weight = None, numbers(outputs, inputs)
        if kept is not None:
            columns, starts = map(np.asarray, kept)
            weight = numbers(len(columns)) if group == 1 else numbers(len(columns), group)
            if share > 1:
                columns = columns.reshape(outputs, -1)[::share]
                starts = columns.shape[1] * np.arange(len(columns) + 1, dtype=np.int32)
                columns = columns.reshape(-1)
            places = kernels.Places(columns, starts, *by_column(columns, starts, grids[i][1]))
        per_row = group * weight.size / outputs
        if not whole:
            weight /= np.float32(max(per_row, 1) ** 0.5)
        extra = {"share": share} if group == 1 else {"group": group, "inputs": inputs}
        for name, among, size in (
            ("norm", normed, outputs),
            ("input_norm", input_normed, inputs),
        ):
            if i in among:
                variance = rng.uniform(0.2, 2, size).astype(np.float32)
                extra[name] = (*(numbers(size) for _ in range(3)), variance)
        layer = kernels.Layer(weight, numbers(outputs), places, **extra)
        read = normalised(layer, [values[value] for value in connections.reads[i]])
        # What a rounding could lift over zero would make the two gradients differ.
        for _ in range(0 if whole else 100):
            factor, offset = affine(layer)
            z = factor * (dense(layer) @ read) + offset
            close = (np.abs(z) < 2e-5).any(axis=1)
            layer.bias[close] += np.float32(0.01)
            if not close.any():
                break
        layers.append(layer)
        factor, offset = affine(layer)
        z = factor * (dense(layer) @ read) + offset
        values.append(ACTIVATIONS[connections.activations[i]][0](z))
    given = sum(widths[value] for value in connections.gives) if connections.gives else widths[-1]
    layers, x, dy = jax.tree.map(jnp.asarray, (layers, x, numbers(given, batch)))
    return Net(layers, x, dy, connections)


def of_running(norm):
    """Factor and offset of a norm with its running statistics."""
    if norm is None:
        return np.ones((1, 1)), np.zeros((1, 1))
    gain, shift, mean, variance = (np.asarray(a, np.float64)[:, None] for a in norm)
    factor = gain / np.sqrt(variance + BATCH_EPSILON)
    return factor, shift - factor * mean


def affine(layer):
    """Factor and offset of what a layer's weights make of its input: its bias, and its norm."""
    factor, offset = of_running(layer.norm)
    return factor, offset + factor * np.asarray(layer.bias, np.float64)[:, None]


def normalised(layer, read):
    """What a layer's weights multiply, of the values that it reads."""
    factor, offset = of_running(layer.input_norm)
    return factor * np.concatenate(read) + offset


def expected(net):
    """y, the gradients and dx in float64, each with the largest sum of absolute terms in it."""

    def product(a, b, c=0.0):
        return a @ b + c, np.max(np.abs(a) @ np.abs(b) + np.abs(c), initial=0)

    weights = [dense(layer) for layer in net.layers]
    factors = [affine(layer)[0] for layer in net.layers]
    read, activations, gives = net.connections
    gives = gives or (len(net.layers),)
    values, inputs, sums, scales = [np.asarray(net.x, np.float64)], [], [], [0.0]
    scales[0] = np.max(np.abs(values[0]), initial=0)
    for layer, weight, reads, activation in zip(
        net.layers, weights, read, activations, strict=True
    ):
        inputs.append(normalised(layer, [values[value] for value in reads]))
        factor, offset = affine(layer)
        z, scale = product(factor * weight, inputs[-1], offset)
        sums.append(z)
        scales.append(scale)
        values.append(ACTIVATIONS[activation][0](z))
    y = np.concatenate([values[value] for value in gives]), max(scales[v] for v in gives)
    by_value = [np.zeros_like(value) for value in values]
    scales = [0.0] * len(values)
    rest = np.asarray(net.dy, np.float64)
    for value in gives:
        by_value[value] += rest[: len(values[value])]
        scales[value] += np.max(np.abs(rest[: len(values[value])]), initial=0)
        rest = rest[len(values[value]) :]
    gradients = []
    for i in reversed(range(len(weights))):
        delta = by_value[i + 1] * ACTIVATIONS[activations[i]][1](sums[i]) * factors[i]
        of_bias = product(delta, np.ones(delta.shape[1]))
        full, of_weights = product(delta, inputs[i].T)
        gradients = [gradient_of(net.layers[i], full, of_weights), of_bias, *gradients]
        back, terms = product(of_running(net.layers[i].input_norm)[0] * weights[i].T, delta)
        for value in read[i]:
            width = len(values[value])
            by_value[value] += back[:width]
            scales[value] += terms
            back = back[width:]
    return [y, *gradients, (by_value[0], scales[0])]


@partial(jax.jit, static_argnames=("connections", "compiled"))
def pulled(layers, x, dy, connections, compiled):
    if any((layer.norm, layer.input_norm) != (None, None) for layer in layers):
        y, pull = jax.vjp(lambda x: kernels.network(layers, x, connections, compiled), x)
        return y, *pull(dy)

    def apply(values, x):
        pairs = zip(values, layers, strict=True)
        whole = [layer._replace(weight=w, bias=b) for (w, b), layer in pairs]
        return kernels.network(whole, x, connections, compiled)

    y, pull = jax.vjp(apply, [(layer.weight, layer.bias) for layer in layers], x)
    gradients, dx = pull(dy)
    return y, gradients, dx


def results(net, compiled=True):
    """y, the gradients (weight, bias, weight ...) and dx; with batch norms y and dx alone.

    Waits, so that nothing runs later."""
    return [np.asarray(a) for a in jax.tree.leaves(pulled(*net, compiled))]


def in_full(net, found):
    """`found`, with the gradients of weights as `gradient_of` gives them."""
    y, *gradients, dx = found
    for i, layer in enumerate(net.layers if gradients else ()):
        if layer.group == 1:
            gradients[2 * i] = dense(layer, gradients[2 * i])
    return [y, *gradients, dx]


def assert_close(net, found, wanted):
    if len(found) == 2:
        wanted = wanted[:: len(wanted) - 1]
    for number, (a, (b, scale)) in enumerate(zip(in_full(net, found), wanted, strict=True)):
        assert a.shape == b.shape
        error = np.max(np.abs(a - b), initial=0)
        assert error <= 3e-6 * scale, f"array {number}: {error} at a scale of {scale}"


@st.composite
def patterns(draw):
    kind = draw(st.sampled_from([None, NofM, PerRow, PerLayer]))
    m = draw(st.integers(1, 16))
    return {
        None: None,
        NofM: (NofM, draw(st.integers(1, m)), m, draw(st.sampled_from([1, 1, 2, 3, 4, 7, 8, 16]))),
        PerRow: (PerRow, draw(st.integers(1, 24)), draw(st.sampled_from([1, 2, 4, 7]))),
        PerLayer: (PerLayer, draw(st.integers(1, 300))),  # few of many rows: some are empty
    }[kind]


@st.composite
def circulant(draw):
    count = draw(st.one_of(st.none(), st.integers(1, 60)))
    return Blocks(draw(st.sampled_from(GROUPS)), ALL if count is None else PerLayer(count))


@st.composite
def any_pattern(draw):
    if draw(st.booleans()):
        return draw(circulant())
    packed = draw(patterns())
    return packed and packed[0](*packed[1:])


@st.composite
def connections(draw, depth):
    """A chain, or any values in any order, some more than once, read and given; what nothing reads,
    the network gives, or the last layer reads it."""
    if draw(st.booleans()):
        return kernels.Connections.chain(depth, relu_last=draw(st.booleans()))
    reads = [
        draw(st.lists(st.integers(0, layer), min_size=1, max_size=3)) for layer in range(depth)
    ]
    gives = []
    if draw(st.booleans()):
        read = sorted(set().union(*reads))
        ends = sorted(set(range(depth + 1)).difference(read))
        gives = draw(st.permutations(ends + draw(st.lists(st.sampled_from(read), max_size=3))))
    else:
        reads[-1] += sorted(set(range(depth)).difference(*reads))
    activations = draw(st.lists(st.sampled_from([*ACTIVATIONS]), min_size=depth, max_size=depth))
    return kernels.Connections(tuple(map(tuple, reads)), tuple(activations), tuple(gives))
