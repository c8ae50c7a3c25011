"""Masked dense layers with straight-through gradients, for comparison with the literature.

All weights are stored and trained, but the product uses only the active ones (SR-STE, 2102.04010).
Training saves nothing: that is the price of a gradient for every dormant weight.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int32

from sparl.layouts.base import Layout
from sparl.layouts.row_sparse import RowSparse, packed_index_bytes
from sparl.topology import Kept, Pattern


class StraightThrough(Layout):
    """W stored whole: `apply` uses the active entries, and the gradient reaches all entries."""

    name: ClassVar[str] = "straight-through"

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]
    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " out+1"]
    pattern: Pattern = eqx.field(static=True)

    @classmethod
    def of(
        cls, dense: Float[Array, "out in"], bias: Float[Array, " out"], pattern: Pattern, kept: Kept
    ) -> StraightThrough:
        """A layer that stores all of `dense` and is active at the places `kept`."""
        return cls(dense, bias, kept.columns, kept.row_starts, pattern)

    @property
    def in_features(self) -> int:
        return self.weight.shape[1]

    def apply(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        # w + (masked - w) equals `masked` bit for bit: masked - w is either 0 or -w.
        straight_through = self.weight + stop_gradient(self.to_dense() - self.weight)
        return straight_through @ x + self.bias[:, None]

    def to_dense(self) -> Float[Array, "out in"]:
        return jnp.where(self.active() > 0, self.weight, 0.0)

    def spread(
        self, aligned: Float[Array, "out in"], fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        return aligned

    def pick(self, dense: Float[Array, "out in"]) -> Float[Array, "out in"]:
        return dense

    def row_squares(self) -> Float[Array, " out"]:
        return jnp.sum(self.to_dense() ** 2, axis=1)

    def of_rows(self, values: Float[Array, " out"]) -> Float[Array, "out 1"]:
        return values[:, None]

    def first_rows(self, count: int) -> Layout:
        # Rows are cut off for a policy, which does not need the dormant weights.
        return self.packed().first_rows(count)

    def active(self) -> Float[Array, "out in"]:
        return self.packed().active()

    def packed(self) -> RowSparse:
        """The same layer without its dormant weights."""
        kept = Kept(self.columns, self.row_starts)
        return RowSparse.of(self.weight, self.bias, self.pattern, kept)

    @property
    def kept(self) -> int:
        return self.columns.size

    @property
    def index_bytes(self) -> int:
        return packed_index_bytes(self.pattern, self.shape, self.kept)
