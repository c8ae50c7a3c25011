"""Packed rows: only the kept weights of each row are stored, with their columns.

One layout serves row-wise N:M and unstructured sparsity; the pattern says which counts the rows
hold. Shapes follow from the pattern alone, so another choice of places under the same pattern is
another set of indices in arrays of the same shape, and compiles nothing.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparl import kernels
from sparl.layouts.base import Layout, index_width
from sparl.layouts.dense import Dense
from sparl.layouts.packed import Packed
from sparl.topology import Kept, Pattern, PerLayer


class RowSparse(Packed):
    """The kept weights of W, one value at each place of W."""

    name: ClassVar[str] = "row-sparse"

    weight: Float[Array, " kept"]
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

    def kernel_form(self) -> kernels.Layer:
        return kernels.Layer(self.weight, self.bias, self.places)

    def to_dense(self) -> Float[Array, "out in"]:
        return kernels.expand(self.weight, self.columns, self.row_starts, self.in_features)

    def spread(
        self, aligned: Float[Array, " kept"], fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        background = jnp.broadcast_to(jnp.asarray(fill, aligned.dtype), self.shape)
        return background.at[self.row_of_each, self.columns].set(aligned)

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
    def index_bytes(self) -> int:
        return packed_index_bytes(self.pattern, self.shape, self.kept)


def packed_index_bytes(pattern: Pattern, shape: tuple[int, int], kept: int) -> int:
    """Bytes of the columns of packed rows, and of where they start."""
    # Where every row keeps as many, row_starts follows from the pattern and is not stored.
    starts = 4 * (shape[0] + 1) if isinstance(pattern, PerLayer) else 0
    return index_width(shape[1]) * kept + starts
