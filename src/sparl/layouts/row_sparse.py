"""Packed rows: only the kept weights of each row are stored, with their columns.

One layout serves row-wise N:M and unstructured sparsity; the pattern says which counts the rows
hold. Shapes follow from the pattern alone, so another choice of places under the same pattern is
another set of indices in arrays of the same shape, and compiles nothing.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl import kernels
from sparl.layouts.base import Layout, index_width
from sparl.layouts.dense import Dense
from sparl.topology import Kept, Pattern, PerLayer


class RowSparse(Layout):
    """The kept weights of W, row after row, columns ascending within a row.

    `columns[row_starts[r]:row_starts[r + 1]]` are the columns of row r; `weight` has the values
    in the same order. `rows`, `column_starts` and `order` are the same places column by column,
    for input gradients (`kernels.Places`). Indices are constants of the stretch between two
    restructurings: gradients and optimizers see `weight` and `bias` alone.
    """

    name: ClassVar[str] = "row-sparse"

    weight: Float[Array, " kept"]
    bias: Float[Array, " out"]
    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " out+1"]
    rows: Int32[Array, " kept"]
    column_starts: Int32[Array, " in_starts"]
    order: Int32[Array, " kept"]
    pattern: Pattern = eqx.field(static=True)

    @classmethod
    def of(
        cls, dense: Float[Array, "out in"], bias: Float[Array, " out"], pattern: Pattern, kept: Kept
    ) -> RowSparse:
        """The entries of `dense` at the places `kept`, which `pattern` must have selected."""
        weight = kernels.gather(dense, kept.columns, kept.row_starts)
        return cls.packed(weight, bias, dense.shape[1], pattern, kept)

    @classmethod
    def packed(
        cls,
        weight: Float[Array, " kept"],
        bias: Float[Array, " out"],
        in_features: int,
        pattern: Pattern,
        kept: Kept,
    ) -> RowSparse:
        """Values in the order of the places `kept`."""
        return cls(weight, bias, *kernels.places(*kept, in_features), pattern)

    @property
    def in_features(self) -> int:
        return self.column_starts.shape[0] - 1

    def apply(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        return kernels.network([self.kernel_form()], x)

    def kernel_form(self) -> kernels.Layer:
        places = kernels.Places(
            self.columns, self.row_starts, self.rows, self.column_starts, self.order
        )
        return kernels.Layer(self.weight, self.bias, places)

    def to_dense(self) -> Float[Array, "out in"]:
        return kernels.expand(self.weight, self.columns, self.row_starts, self.in_features)

    def spread(
        self, aligned: Float[Array, " kept"], fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        background = jnp.broadcast_to(jnp.asarray(fill, aligned.dtype), self.shape)
        return background.at[self._rows(), self.columns].set(aligned)

    def pick(self, dense: Float[Array, "out in"]) -> Float[Array, " kept"]:
        return kernels.gather(dense, self.columns, self.row_starts)

    def first_rows(self, count: int) -> Layout:
        kept = Kept(self.columns[: self.row_starts[count]], self.row_starts[: count + 1])
        weight, bias = self.weight[: len(kept.columns)], self.bias[:count]
        if not len(weight):  # no pattern keeps nothing
            return Dense(jnp.zeros((count, self.in_features)), bias)
        # Only this pattern counts the layer's weights, and not those of a row.
        pattern = PerLayer(len(weight)) if isinstance(self.pattern, PerLayer) else self.pattern
        return RowSparse.packed(weight, bias, self.in_features, pattern, kept)

    def active(self) -> Float[Array, "out in"]:
        return self.spread(jnp.ones_like(self.weight))

    @property
    def kept(self) -> int:
        return self.weight.size

    @property
    def index_bytes(self) -> int:
        return packed_index_bytes(self.pattern, self.shape, self.kept)

    def _rows(self) -> Int32[Array, " kept"]:
        rows = jnp.arange(self.out_features, dtype=jnp.int32)
        return jnp.repeat(rows, jnp.diff(self.row_starts), total_repeat_length=self.kept)


def packed_index_bytes(pattern: Pattern, shape: tuple[int, int], kept: int) -> int:
    """Bytes of the columns of packed rows, and of where they start."""
    # Where every row keeps as many, row_starts follows from the pattern and is not stored.
    starts = 4 * (shape[0] + 1) if isinstance(pattern, PerLayer) else 0
    return index_width(shape[1]) * kept + starts
