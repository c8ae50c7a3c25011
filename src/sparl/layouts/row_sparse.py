"""Packed rows: only the kept weights of each row are stored, with their columns.

Where the pattern lets neighbouring rows share their columns, these are stored once for all
rows that share them. Weights are stored row by row all the same.

One layout serves row-wise N:M and unstructured sparsity; the pattern fixes how many weights are
kept. The shapes of all arrays follow from the pattern alone. Other places under the same pattern
are therefore other indices in arrays of the same shape, and nothing compiles again.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl import kernels
from sparl.layouts.base import Layout, index_width
from sparl.layouts.dense import Dense
from sparl.layouts.packed import Packed
from sparl.layouts.shared_rows import places_of_groups, rows_that_share, stored_columns
from sparl.topology import Kept, Pattern, PerLayer


class RowSparse(Packed):
    """The kept weights of W, one value for each kept place."""

    name: ClassVar[str] = "row-sparse"

    weight: Float[Array, " weights"]
    pattern: Pattern = eqx.field(static=True)

    @classmethod
    def of(
        cls, dense: Float[Array, "out in"], bias: Float[Array, " out"], pattern: Pattern, kept: Kept
    ) -> RowSparse:
        """A layer with the entries of `dense` at the places `kept`.

        Args:
            dense: W, of which the other entries are dropped.
            bias: b.
            pattern: What selected `kept`; it must fit.
            kept: The kept places.
        """
        weight = kernels.gather(dense, kept.columns, kept.row_starts)
        return cls.packed(weight, bias, dense.shape[1], pattern, kept)

    @classmethod
    def packed(
        cls,
        weight: Float[Array, " weights"],
        bias: Float[Array, " out"],
        in_features: int,
        pattern: Pattern,
        kept: Kept,
    ) -> RowSparse:
        """A layer from values that are already in the order of the places `kept`.

        `kept` has the places of every row, also where rows share them.
        """
        grouped = places_of_groups(kept, pattern)
        return cls(weight, bias, *kernels.places(*grouped, in_features), pattern)

    @property
    def in_features(self) -> int:
        return self.column_starts.shape[0] - 1

    @property
    def kept_places(self) -> Kept:
        """The kept places of every row, in the order of `weight`."""
        share = rows_that_share(self.pattern)
        return Kept(*kernels.of_all_rows(self.places, self.out_features, share))

    @property
    def _rows(self) -> Int32[Array, " weights"]:
        """The row of each weight."""
        return kernels.rows_of(self.kept_places.row_starts, self.kept)

    def kernel_form(self) -> kernels.Layer:
        share = rows_that_share(self.pattern)
        return kernels.Layer(self.weight, self.bias, self.places, share=share)

    def to_dense(self) -> Float[Array, "out in"]:
        return kernels.expand(self.weight, *self.kept_places, self.in_features)

    def spread(
        self, aligned: Float[Array, " weights"], fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        background = jnp.broadcast_to(jnp.asarray(fill, aligned.dtype), self.shape)
        return background.at[self._rows, self.kept_places.columns].set(aligned)

    def pick(self, dense: Float[Array, "out in"]) -> Float[Array, " weights"]:
        return kernels.gather(dense, *self.kept_places)

    def row_squares(self) -> Float[Array, " out"]:
        squares = self.weight**2
        if isinstance(self.pattern, PerLayer):
            return jnp.zeros(self.out_features).at[self._rows].add(squares)
        return jnp.sum(squares.reshape(self.out_features, -1), axis=1)

    def of_rows(self, values: Float[Array, " out"]) -> Float[Array, " weights"]:
        if isinstance(self.pattern, PerLayer):
            return values[self._rows]
        return jnp.repeat(values, self.kept // self.out_features)

    def first_rows(self, count: int) -> Layout:
        columns, row_starts = self.kept_places
        kept = Kept(columns[: row_starts[count]], row_starts[: count + 1])
        weight, bias = self.weight[: len(kept.columns)], self.bias[:count]
        if not len(weight):  # A pattern keeps at least one weight, so none describes this layer.
            return Dense(jnp.zeros((count, self.in_features)), bias)
        # A per-layer count must be that of the shorter layer; the other patterns count by row.
        pattern = PerLayer(len(weight)) if isinstance(self.pattern, PerLayer) else self.pattern
        return RowSparse.packed(weight, bias, self.in_features, pattern, kept)

    def active(self) -> Float[Array, "out in"]:
        return self.spread(jnp.ones_like(self.weight))

    @property
    def index_bytes(self) -> int:
        return packed_index_bytes(self.pattern, self.shape, self.kept)


def packed_index_bytes(pattern: Pattern, shape: tuple[int, int], kept: int) -> int:
    """Bytes of the saved columns and row starts of packed rows.

    Args:
        pattern: What selected the weights.
        shape: Of the dense matrix, (out, in).
        kept: The number of kept weights.
    """
    # Where all rows keep the same number, row_starts follows from the pattern and is not stored.
    start_bytes = 4 * (shape[0] + 1) if isinstance(pattern, PerLayer) else 0
    return index_width(shape[1]) * stored_columns(pattern, shape[0], kept) + start_bytes
