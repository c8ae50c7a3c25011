"""The kernels in plain JAX: what runs on other devices, and what the compiled ones must equal.

Shapes as in `sparl.kernels`. Indices that lead outside a matrix are dropped or clamped here, for
XLA cannot raise from compiled code; the compiled kernels refuse them.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32


def expand(
    values: Float[Array, " kept"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
    in_features: int,
) -> Float[Array, "out in"]:
    """Packed rows to a dense matrix, zero where nothing is kept."""
    out_features = row_starts.shape[0] - 1
    flat = _rows(row_starts, values.shape[0]) * in_features + columns
    # A column beyond its row would land in the next one; past the end it is dropped.
    inside = (columns >= 0) & (columns < in_features)
    flat = jnp.where(inside, flat, out_features * in_features)
    dense = jnp.zeros(out_features * in_features, values.dtype)
    dense = dense.at[flat].set(values, unique_indices=True, mode="drop")
    return dense.reshape(out_features, in_features)


def gather(
    dense: Float[Array, "out in"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
) -> Float[Array, " kept"]:
    """The entries of a dense matrix at the places of packed rows."""
    if dense.size == 0:
        return jnp.zeros(columns.shape, dense.dtype)
    return dense[_rows(row_starts, columns.shape[0]), columns]


def _rows(row_starts: Int32[Array, " starts"], kept: int) -> Int32[Array, " kept"]:
    """The row of each kept value.

    Nearly all the time of this file goes here. A sum over marks where rows begin and an unrolled
    binary search take as long (about 220 us at 256 x 256, half kept), a search in a loop twice
    that, a sort thirty times.
    """
    rows = jnp.arange(row_starts.shape[0] - 1, dtype=jnp.int32)
    return jnp.repeat(rows, jnp.diff(row_starts), total_repeat_length=kept)
