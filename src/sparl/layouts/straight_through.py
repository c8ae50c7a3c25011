"""Masked dense with straight-through gradients: the reference that a method may ask for.

Everything is stored and everything is trained; only the active weights are multiplied by. It
saves nothing while training (that is the price of a gradient for every dormant weight) and is
here for the literature's comparison (SR-STE, 2102.04010), not for speed.
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
    """W stored whole; `apply` uses the active entries, the gradient reaches all of them."""

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
        return cls(dense, bias, kept.columns, kept.row_starts, pattern)

    @property
    def in_features(self) -> int:
        return self.weight.shape[1]

    def apply(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        # w + (masked - w) is exactly `masked` in floating point: the two terms cancel or vanish.
        through = self.weight + stop_gradient(self.to_dense() - self.weight)
        return through @ x + self.bias[:, None]

    def to_dense(self) -> Float[Array, "out in"]:
        return jnp.where(self.active() > 0, self.weight, 0.0)

    def spread(
        self, aligned: Float[Array, "out in"], fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        return aligned

    def pick(self, dense: Float[Array, "out in"]) -> Float[Array, "out in"]:
        return dense

    def first_rows(self, count: int) -> Layout:
        # Rows are taken off for a policy, which has no use for dormant weights.
        return self.packed().first_rows(count)

    def active(self) -> Float[Array, "out in"]:
        return self.packed().active()

    def packed(self) -> RowSparse:
        """The same layer with its dormant weights left out."""
        kept = Kept(self.columns, self.row_starts)
        return RowSparse.of(self.weight, self.bias, self.pattern, kept)

    @property
    def kept(self) -> int:
        return self.columns.size

    @property
    def index_bytes(self) -> int:
        return packed_index_bytes(self.pattern, self.shape, self.kept)
