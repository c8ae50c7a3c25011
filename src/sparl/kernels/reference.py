"""The kernels in plain JAX: what runs on other devices, and what the compiled ones must equal.

Shapes as in `sparl.kernels`. Indices that lead outside a matrix are dropped or clamped here, for
XLA cannot raise from compiled code; the compiled kernels refuse them.

What changes a layout is compiled as a whole where nothing around it is: JAX would compile every
operation in it for every new shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl.kernels.forms import Activation, Connections, affine

ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "swish": jax.nn.swish,
    "elu": jax.nn.elu,
    "tanh": jnp.tanh,
}


@partial(jax.jit, static_argnames="in_features", inline=True)
def expand(
    values: Float[Array, " kept"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
    in_features: int,
) -> Float[Array, "out in"]:
    """Packed rows to a dense matrix, zero where nothing is kept."""
    out_features = row_starts.shape[0] - 1
    flat = rows_of(row_starts, values.shape[0]) * in_features + columns
    # A column beyond its row would land in the next one; past the end it is dropped.
    inside = (columns >= 0) & (columns < in_features)
    flat = jnp.where(inside, flat, out_features * in_features)
    dense = jnp.zeros(out_features * in_features, values.dtype)
    dense = dense.at[flat].set(values, unique_indices=True, mode="drop")
    return dense.reshape(out_features, in_features)


@partial(jax.jit, static_argnames=("out_features", "in_features"), inline=True)
def expand_blocks(
    weight: Float[Array, "kept group"], places: Any, out_features: int, in_features: int
) -> Float[Array, "out in"]:
    """Circulant blocks to a dense matrix, of which the last ones may be cut short."""
    group, columns = weight.shape[1], places.column_starts.shape[0] - 1
    grid = jax.vmap(
        lambda values: expand(values, places.columns, places.row_starts, columns), 1, 2
    )(weight)
    numbers = jnp.arange(group)
    blocks = grid[:, :, (numbers - numbers[:, None]) % group]  # [block row, block column, r, s]
    dense = blocks.transpose(0, 2, 1, 3).reshape(group * len(grid), group * columns)
    return dense[:out_features, :in_features]


@partial(jax.jit, inline=True)
def gather(
    dense: Float[Array, "out in"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
) -> Float[Array, " kept"]:
    """The entries of a dense matrix at the places of packed rows."""
    if dense.size == 0:
        return jnp.zeros(columns.shape, dense.dtype)
    return dense[rows_of(row_starts, columns.shape[0]), columns]


@partial(jax.jit, static_argnames="in_features", inline=True)
def transpose(
    columns: Int32[Array, " kept"], row_starts: Int32[Array, " starts"], in_features: int
) -> tuple[Int32[Array, " kept"], Int32[Array, " in_starts"], Int32[Array, " kept"]]:
    """Packed places column by column: rows, column_starts, order."""
    order = jnp.argsort(columns, stable=True)
    rows = rows_of(row_starts, columns.shape[0])[order]
    counts = jnp.bincount(columns, length=in_features)
    column_starts = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counts)])
    return rows, column_starts.astype(jnp.int32), order.astype(jnp.int32)


def network(layers: Sequence[Any], x: jax.Array, connections: Connections) -> jax.Array:
    """Layers so connected; packed ones are expanded first. See `kernels.network`."""
    values, (read, activations, gives) = [x], connections
    for layer, reads, activation in zip(layers, read, activations, strict=True):
        x = jnp.concatenate([values[value] for value in reads])
        weight, where = layer.weight, layer.places
        if layer.group > 1:
            weight = expand_blocks(weight, where, layer.bias.shape[0], x.shape[0])
        elif where is not None:
            weight = expand(weight, where.columns, where.row_starts, x.shape[0])
        y = weight @ x + layer.bias[:, None]
        if layer.norm is not None:
            factor, offset = affine(*layer.norm)
            y = factor[:, None] * y + offset[:, None]
        values.append(y if activation is None else ACTIVATIONS[activation](y))
    return jnp.concatenate([values[value] for value in gives])


@partial(jax.jit, static_argnames="kept", inline=True)
def rows_of(row_starts: Int32[Array, " starts"], kept: int) -> Int32[Array, " kept"]:
    """The row of each kept value, in the order of `columns`.

    Nearly all the time of this file goes here. A sum over marks where rows begin and an unrolled
    binary search take as long (about 220 us at 256 x 256, half kept), a search in a loop twice
    that, a sort thirty times.
    """
    rows = jnp.arange(row_starts.shape[0] - 1, dtype=jnp.int32)
    return jnp.repeat(rows, jnp.diff(row_starts), total_repeat_length=kept)
