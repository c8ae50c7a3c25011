"""Learning rates by density: SµPar's factors by hand, and what they do to a step of an engine."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import at, rows, same_bits

from sparl.agents import DQN
from sparl.engine import Engine
from sparl.layouts import BlockCirculant, Dense, RowSparse, StraightThrough
from sparl.learner import Structure
from sparl.learner.density import step_factors
from sparl.methods import Magnitude
from sparl.networks import build, plain
from sparl.replay import Columns
from sparl.topology import Kept, NofM, PerLayer

COLUMNS = Columns(6, 3, discrete=True)


def layers() -> dict:
    """Layers of every layout with 4 outputs and 10 inputs, and their densities."""
    dense = jax.random.normal(jax.random.key(0), (4, 10))
    bias, pattern, places = jnp.zeros(4), NofM(1, 8), PerLayer(5).select(jnp.abs(dense))
    # Of a grid of 2 by 3 blocks of 4 x 4, padded to 8 by 12, the first and the third are kept.
    two_blocks = Kept.of(jnp.array([[True, False, True]]), 2)
    return {
        # 10 inputs are a group of 8 and one of 2: each keeps one.
        "n:m": (RowSparse.of(dense, bias, pattern, pattern.select(dense)), 5.0),
        "unstructured": (RowSparse.of(dense, bias, PerLayer(5), places), 8.0),
        "straight-through": (StraightThrough.of(dense, bias, PerLayer(5), places), 8.0),
        "circulant": (BlockCirculant.of(dense, bias, 4, two_blocks), 40 / 32),
        "dense": (Dense(dense, bias), 1.0),
    }


@pytest.mark.parametrize("kind", layers())
def test_a_factor_is_one_over_the_density_for_weights_and_1_for_biases(kind):
    layer, factor = layers()[kind]
    structure = Structure.of({"a": plain((layer, Dense(jnp.ones((2, 4)), jnp.ones(2))))})
    factors = step_factors(structure)
    if kind == "dense":
        assert factors is None
        return
    weights = [factor] * layer.weight.size
    assert factors.tolist() == pytest.approx([*weights, *[1] * 4, *[1] * 8, *[1] * 2])
    assert factors.dtype == np.float32


def test_norms_and_numbers_that_are_no_network_keep_their_rate():
    network = build(jax.random.key(0), (8, 16, 2), norm="batch")
    pattern = NofM(1, 4)
    first = network.layers[0]
    sparse = RowSparse.of(first.weight, first.bias, pattern, pattern.select(first.weight))
    structure = Structure.of({"a": network.with_layers([sparse, network.layers[1]])})
    factors = step_factors(structure)
    no_indices = jnp.zeros(structure.sizes()[1], jnp.int32)
    (found,) = structure.networks(jnp.asarray(factors), no_indices).values()
    assert np.asarray(found.layers[0].weight).tolist() == [4.0] * 32
    assert (factors == 4).sum() == 32 and (factors == 1).sum() == factors.size - 32
    assert step_factors(Structure.of({"log_temperature": jnp.zeros(())})) is None


def test_steps_of_an_engine_are_larger_once_its_layers_are_sparse():
    """Dense layers step as ever, to the bit; pruned ones by one over what they keep now."""
    method = Magnitude(sparsity=0.5, prunings=1, sparse_layers="hidden")
    batch = rows(np.random.default_rng(0), 8, COLUMNS)
    values, moved = [], []
    for by_density in (False, True):
        agent = DQN(hidden=(16, 16), batch_size=8, learning_rate_by_density=by_density)
        engine = Engine(agent, method, COLUMNS, seed=0)
        engine.update(batch)
        values.append(np.array(engine.learner.parts["q"].values))
        engine.restructure(1, at(0.5))
        before = np.array(engine.learner.parts["q"].values, np.float64)
        engine.update(batch)
        moved.append(np.array(engine.learner.parts["q"].values, np.float64) - before)
    assert same_bits(*values)
    network = engine.learner.networks("q")["q"]
    first, second, head = network.layers
    factors = [6 * 16 / first.kept, 16 * 16 / second.kept, 1.0]
    assert factors[1] > 1.5 and head.kept == 3 * 16
    sizes = [size for layer in network.layers for size in (layer.kept, layer.out_features)]
    expected = np.repeat(np.stack([factors, [1.0] * 3], axis=1).reshape(-1), sizes)
    # Values minus values: the last bit is that of the values themselves.
    np.testing.assert_allclose(moved[1], expected * moved[0], rtol=1e-3, atol=1e-6)
    assert np.abs(moved[0]).max() > 1e-4
