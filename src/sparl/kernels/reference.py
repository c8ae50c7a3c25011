"""The kernels in plain JAX: they run on other devices, and the compiled kernels must equal them.

Shapes are as in `sparl.kernels`. Indices outside a matrix are dropped or clamped here, because XLA
cannot raise from compiled code; the compiled kernels refuse them.

Functions that change a layout are compiled as a whole, because their callers may not be compiled.
JAX would otherwise compile every operation in them for every new shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl.kernels.forms import Activation, ColumnOrder, Connections, affine

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
    """The dense matrix of packed rows, with zeros where nothing is kept."""
    out_features = row_starts.shape[0] - 1
    flat = rows_of(row_starts, values.shape[0]) * in_features + columns
    # A column outside its row would land in another row, so it is moved past the end and dropped.
    inside = (columns >= 0) & (columns < in_features)
    flat = jnp.where(inside, flat, out_features * in_features)
    dense = jnp.zeros(out_features * in_features, values.dtype)
    dense = dense.at[flat].set(values, unique_indices=True, mode="drop")
    return dense.reshape(out_features, in_features)


@partial(jax.jit, static_argnames=("out_features", "in_features"), inline=True)
def expand_blocks(
    weight: Float[Array, "kept group"], places: Any, out_features: int, in_features: int
) -> Float[Array, "out in"]:
    """The dense matrix of circulant blocks, of which the last ones may be cut short.

    Args:
        weight: First row of each kept block.
        places: `Places` of the kept blocks in the grid of blocks.
        out_features: Rows of the matrix.
        in_features: Columns of the matrix.
    """
    group, grid_columns = weight.shape[1], places.column_starts.shape[0] - 1
    grid = jax.vmap(
        lambda values: expand(values, places.columns, places.row_starts, grid_columns), 1, 2
    )(weight)
    numbers = jnp.arange(group)
    blocks = grid[:, :, (numbers - numbers[:, None]) % group]  # [block row, block column, r, s]
    dense = blocks.transpose(0, 2, 1, 3).reshape(group * len(grid), group * grid_columns)
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
) -> ColumnOrder:
    """The places of packed rows, column by column."""
    order = jnp.argsort(columns, stable=True)
    rows = rows_of(row_starts, columns.shape[0])[order]
    counts = jnp.bincount(columns, length=in_features)
    column_starts = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(counts)])
    return ColumnOrder(rows, column_starts.astype(jnp.int32), order.astype(jnp.int32))


def network(layers: Sequence[Any], x: jax.Array, connections: Connections) -> jax.Array:
    """The output of connected layers, as of `kernels.network`; packed layers are expanded first."""
    values, (reads, activations, gives) = [x], connections
    for layer, read, activation in zip(layers, reads, activations, strict=True):
        x = jnp.concatenate([values[value] for value in read])
        weight, places = layer.weight, layer.places
        if layer.group > 1:
            weight = expand_blocks(weight, places, layer.bias.shape[0], x.shape[0])
        elif places is not None:
            columns, row_starts = of_all_rows(places, layer.bias.shape[0], layer.share)
            weight = expand(weight, columns, row_starts, x.shape[0])
        if layer.input_norm is not None:
            factor, offset = affine(*layer.input_norm)
            x = factor[:, None] * x + offset[:, None]
        y = weight @ x + layer.bias[:, None]
        if layer.norm is not None:
            factor, offset = affine(*layer.norm)
            y = factor[:, None] * y + offset[:, None]
        values.append(y if activation is None else ACTIVATIONS[activation](y))
    return jnp.concatenate([values[value] for value in gives])


def of_all_rows(
    places: Any, rows: int, share: int
) -> tuple[Int32[Array, " kept"], Int32[Array, " starts"]]:
    """Columns and row starts of every row, where groups of rows share their columns.

    Args:
        places: Anything with `columns` and `row_starts`, of groups of rows; where rows share
            columns, all keep the same number.
        rows: The number of rows.
        share: The rows of a group; the last group may have fewer.
    """
    if share == 1:
        return places.columns, places.row_starts
    groups = places.row_starts.shape[0] - 1
    columns = jnp.repeat(places.columns.reshape(groups, -1), share, axis=0)[:rows]
    return columns.reshape(-1), columns.shape[1] * jnp.arange(rows + 1, dtype=jnp.int32)


@partial(jax.jit, static_argnames="kept", inline=True)
def rows_of(row_starts: Int32[Array, " starts"], kept: int) -> Int32[Array, " kept"]:
    """The row of each kept value, in the order of `columns`.

    This file spends nearly all of its time here. Two other ways take just as long (about 220 us at
    256 x 256, half kept): a cumulative sum over marks at the starts of rows, and an unrolled binary
    search. A binary search in a loop takes twice as long, a sort thirty times as long.

    Args:
        row_starts: As in `sparl.kernels`.
        kept: The number of kept values.
    """
    rows = jnp.arange(row_starts.shape[0] - 1, dtype=jnp.int32)
    return jnp.repeat(rows, jnp.diff(row_starts), total_repeat_length=kept)
