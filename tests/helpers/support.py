"""What several test files share: small learners filled with random numbers, and comparisons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray
from reference import Transitions

from sparl.engine import Engine
from sparl.layouts import Dense, Layout, RowSparse, StraightThrough
from sparl.learner import Learner
from sparl.methods import Dense as DenseMethod
from sparl.methods import TrainingProgress
from sparl.networks import Network
from sparl.replay import Columns
from sparl.topology import PerLayer

# An agent and its reference begin with the same float32 weights; the agent then rounds at every
# operation (6e-8, which adds up to 3e-7 in six updates) and 100 updates that learn from each
# other's values came out 1.4e-6 apart for TD3, 2e-6 for SAC. The bounds leave that room to grow on
# other processors; the nearest of the wrong rules that the tests try are 5e-3 and 1e-2 off.
EARLY, LATE = 1e-5, 1e-4


def same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def at(progress: float) -> TrainingProgress:
    """The moment of a run when that share of its updates is made."""
    return TrainingProgress(round(1000 * progress), 1000)


def normal(rng: np.random.Generator, *shape: int) -> jax.Array:
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


def rows(rng: np.random.Generator, batch: int, columns: Columns) -> NDArray[np.float32]:
    """Transitions as the replay gives them: actions in [-1, 1] or choices, some of them terminal,
    of one to three steps at a discount of 0.95."""
    drawn = rng.normal(size=(batch, columns.width)).astype(np.float32)
    action = slice(columns.observation_size, columns.reward)
    if columns.discrete:
        drawn[:, action] = rng.integers(0, columns.action_size, (batch, 1))
    else:
        drawn[:, action] = rng.uniform(-1, 1, drawn[:, action].shape)
    drawn[:, -2] = rng.random(batch) < 0.3
    drawn[:, -1] = 0.95 ** rng.integers(1, 4, batch)
    return drawn


def fields(rows: NDArray[np.float32], columns: Columns) -> Transitions:
    """Rows as the references take them, in float64."""
    o, r = columns.observation_size, columns.reward
    exact = rows.astype(np.float64)
    return Transitions(
        observation=exact[:, :o],
        action=exact[:, o:r],
        reward=exact[:, r],
        next_observation=exact[:, r + 1 : -2],
        terminated=exact[:, -2],
        discount=exact[:, -1],
    )


def dense_networks(engine: Engine) -> dict[str, list[list[NDArray[np.float32]]]]:
    """All networks of a learner, targets included, as dense weights and biases."""
    return {
        name: [[stored(la, la.weight), np.array(la.bias)] for la in network.layers]
        for name, network in engine.learner.all_networks().items()
    }


def trajectory(
    config: Any,
    columns: Columns,
    batches: Iterable[NDArray[np.float32]],
    seed: int,
    state: Callable[[Engine], dict] = dense_networks,
) -> list[dict]:
    """The state of a dense engine at the start and after an update with each of the batches."""
    engine = Engine(config, DenseMethod(), columns, seed)
    states = [state(engine)]
    for batch in batches:
        engine.update(batch)
        states.append(state(engine))
    return states


def exact_start(networks: dict[str, Any]) -> dict[str, Any]:
    """What a reference begins with: the online ones of `dense_networks`, in float64."""
    return {
        name: [[a.astype(np.float64) for a in layer] for layer in layers]
        for name, layers in networks.items()
        if not name.startswith("target_")
    }


def distance(a: dict, b: dict, shortest: float = 0.0) -> float:
    """The largest relative difference of any weight matrix or bias vector of `b`, by norms.

    By norms, not by entries: where a gradient is zero but for rounding, Adam's first steps take
    its sign, and a single entry may go the other way.

    Args:
        shortest: What is shorter than this counts as if it were as long.
    """
    return max(
        float(np.linalg.norm(x - y) / (max(np.linalg.norm(y), shortest) or 1.0))
        for name in b
        for one, other in zip(a[name], b[name], strict=True)
        for x, y in zip(one, other, strict=True)
    )


def assert_follows(states: list[dict], expected: list[dict], learned: int) -> None:
    """States from before the first update on stay with a reference's from after it on, and all of
    it has learned: nothing is within `learned` tolerances of its start any more."""
    assert set(expected[0]) == set(states[0])
    distances = [distance(a, b) for a, b in zip(states[1:], expected, strict=True)]
    assert max(distances[:6]) < EARLY
    assert max(distances) < LATE
    for name in states[0]:
        assert distance({name: states[0][name]}, {name: expected[-1][name]}) > learned * LATE


def active(layer: Layout) -> NDArray[np.bool_]:
    """The mask of a layer, from its indices, not through the layer's own `active`."""
    if isinstance(layer, Dense):
        return np.ones(layer.shape, bool)
    assert isinstance(layer, RowSparse | StraightThrough)
    mask = np.zeros(layer.shape, bool)
    columns, starts = np.asarray(layer.columns), np.asarray(layer.row_starts)
    # A packed layer has the columns once for all rows that share them.
    grouped = isinstance(layer, RowSparse) and not isinstance(layer.pattern, PerLayer)
    v = layer.pattern.v if grouped else 1
    for row, (first, end) in enumerate(itertools.pairwise(starts)):
        mask[v * row : v * (row + 1), columns[first:end]] = True
    return mask


def stored(layer: Layout, aligned: Any) -> NDArray[np.float32]:
    """An array aligned with a layer's weights in dense coordinates, zero where nothing is."""
    aligned = np.asarray(aligned)
    if not isinstance(layer, RowSparse):
        return aligned.reshape(layer.shape)
    dense = np.zeros(layer.shape, np.float32)
    dense[active(layer)] = aligned  # both row after row, columns ascending
    return dense


def most_per_group(mask: NDArray[np.bool_], m: int) -> int:
    return max(
        int(mask[:, first : first + m].sum(axis=1).max()) for first in range(0, mask.shape[1], m)
    )


def adam_state(optimizer: optax.OptState) -> optax.ScaleByAdamState:
    """The count and moments inside the state of `optax.adam`."""
    (found,) = (
        state
        for state in jax.tree.leaves(
            optimizer, is_leaf=lambda s: isinstance(s, optax.ScaleByAdamState)
        )
        if isinstance(state, optax.ScaleByAdamState)
    )
    return found


def with_random_moments(learner: Learner, rng: np.random.Generator) -> Learner:
    """`learner` as if it had trained: moments, targets and step count are random numbers."""
    parts = {}
    for name, part in learner.parts.items():
        size = part.values.size
        adam = adam_state(part.optimizer)
        trained = adam._replace(
            count=jnp.asarray(rng.integers(1, 10**6), jnp.int32),
            mu=normal(rng, size),
            nu=jnp.abs(normal(rng, size)),
        )
        parts[name] = part._replace(
            # A running variance, which may be among them, is not negative.
            target=jnp.abs(normal(rng, part.target.size)),
            optimizer=jax.tree.map(
                lambda state, trained=trained: trained,
                part.optimizer,
                is_leaf=lambda s: isinstance(s, optax.ScaleByAdamState),
            ),
        )
    return learner.with_parts(parts)


def with_weight(network: Network, position: int, weight: Any) -> Network:
    """`network` with the stored weights of one layer replaced."""
    return eqx.tree_at(
        lambda n: n.layers[position].weight, network, jnp.asarray(weight, jnp.float32)
    )
