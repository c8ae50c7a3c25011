"""Block-circulant layers: G x G blocks of which only G weights are stored (GST, 2101.09650).

W, padded with zeros to multiples of G, is a grid of blocks. A kept block B is given by its vector c
of length G: B[r, s] = c[(s - r) mod G], so every row is the row above it, turned by one. All other
blocks are zero and are not stored. Training changes the vectors c.
"""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl import kernels
from sparl.layouts.base import Layout, index_width
from sparl.layouts.dense import Dense
from sparl.layouts.packed import Packed
from sparl.topology import Kept


class BlockCirculant(Packed):
    """The kept blocks of W.

    `weight[k]` is the vector c of block k, which lies in column `columns[k]` of the grid of blocks.
    """

    name: ClassVar[str] = "block-circulant"

    weight: Float[Array, "kept group"]
    inputs: int = eqx.field(static=True)

    @classmethod
    def of(
        cls, dense: Float[Array, "out in"], bias: Float[Array, " out"], group: int, kept: Kept
    ) -> BlockCirculant:
        """A layer with the circulant blocks nearest to those of `dense`.

        Args:
            dense: W.
            bias: b.
            group: G.
            kept: The kept places of the grid of blocks.
        """
        rows = kernels.rows_of(kept.row_starts, kept.columns.shape[0])
        weight = projected(dense, group)[rows, kept.columns]
        return cls.packed(weight, bias, dense.shape[1], kept)

    @classmethod
    def packed(
        cls,
        weight: Float[Array, "kept group"],
        bias: Float[Array, " out"],
        in_features: int,
        kept: Kept,
    ) -> BlockCirculant:
        """A layer from blocks that are already in the order of the places `kept` of the grid."""
        grid_columns = -(-in_features // weight.shape[1])
        return cls(weight, bias, *kernels.places(*kept, grid_columns), in_features)

    @property
    def in_features(self) -> int:
        return self.inputs

    @property
    def group(self) -> int:
        """G: rows and columns of a block."""
        return self.weight.shape[1]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the grid of blocks."""
        return grid(self.shape, self.group)

    @property
    def blocks(self) -> int:
        """The number of kept blocks."""
        return self.weight.shape[0]

    @property
    def pattern(self) -> str:
        """G and the number of kept blocks, for reports."""
        return f"G {self.group}: {self.blocks} of {math.prod(self.grid)}"

    def kernel_form(self) -> kernels.Layer:
        return kernels.Layer(self.weight, self.bias, self.places, self.group, self.inputs)

    def spread(
        self, aligned: Float[Array, "kept group"], fill: Float[Array, "out in"] | float = 0.0
    ) -> Float[Array, "out in"]:
        dense = kernels.expand_blocks(aligned, self.places, *self.shape)
        return jnp.where(self.active() > 0, dense, fill)

    def pick(self, dense: Float[Array, "out in"]) -> Float[Array, "kept group"]:
        """The vectors c of the circulant blocks that are nearest to those of `dense`.

        They are the means along each block's wrapped diagonals.
        """
        return projected(dense, self.group)[self.row_of_each, self.columns]

    def row_squares(self) -> Float[Array, " out"]:
        """Padding counts like the rest of its block."""
        of_blocks = jnp.sum(self.weight**2, axis=1)
        of_block_rows = jnp.zeros(self.grid[0]).at[self.row_of_each].add(of_blocks)
        return jnp.repeat(of_block_rows, self.group)[: self.out_features]

    def of_rows(self, values: Float[Array, " out"]) -> Float[Array, "kept 1"]:
        return values[:: self.group][self.row_of_each][:, None]

    def first_rows(self, count: int) -> Layout:
        rows = -(-count // self.group)
        kept = Kept(self.columns[: self.row_starts[rows]], self.row_starts[: rows + 1])
        weight = self.weight[: len(kept.columns)]
        if not len(weight):  # an empty table could not be exported
            return Dense(jnp.zeros((count, self.inputs)), self.bias[:count])
        return self.packed(weight, self.bias[:count], self.inputs, kept)

    def active(self) -> Float[Array, "out in"]:
        padded = self.active_blocks().repeat(self.group, axis=0).repeat(self.group, axis=1)
        return padded[: self.out_features, : self.in_features]

    @property
    def row_of_each(self) -> Int32[Array, " kept"]:
        """The row of each kept block in the grid, in the order of `columns`."""
        return kernels.rows_of(self.row_starts, self.columns.shape[0])

    def active_blocks(self) -> Float[Array, "grid_rows grid_columns"]:
        """1.0 where a block is kept, 0.0 elsewhere."""
        return jnp.zeros(self.grid).at[self.row_of_each, self.columns].set(1.0)

    @property
    def copies(self) -> int:
        return self.group

    @property
    def macs(self) -> int:
        # A product with whole blocks. Where all are kept, the padding is not counted.
        return min(self.blocks * self.group**2, math.prod(self.shape))

    @property
    def index_bytes(self) -> int:
        if self.blocks == math.prod(self.grid):
            return 0
        return self.blocks * index_width(self.grid[1]) + 4 * self.row_starts.size


def grid(shape: tuple[int, int], group: int) -> tuple[int, int]:
    """Rows and columns of the grid of blocks over a matrix of the given shape."""
    return -(-shape[0] // group), -(-shape[1] // group)


@partial(jax.jit, static_argnames="group", inline=True)
def projected(dense: Float[Array, "out in"], group: int) -> Float[Array, "rows columns group"]:
    """The vector c of the nearest circulant block to every block of `dense`.

    It is the mean along each wrapped diagonal, without the padding.
    """
    sums = _sums_along_diagonals(dense, group)
    counts = _sums_along_diagonals(jnp.ones_like(dense), group)
    return sums / jnp.maximum(counts, 1.0)


def _sums_along_diagonals(
    dense: Float[Array, "out in"], group: int
) -> Float[Array, "rows columns group"]:
    """The sums along the wrapped diagonals of every block."""
    outputs, inputs = dense.shape
    rows, columns = grid((outputs, inputs), group)
    padding = (rows * group - outputs, columns * group - inputs)
    blocks = jnp.pad(dense, [(0, padding[0]), (0, padding[1])])
    blocks = blocks.reshape(rows, group, columns, group)
    terms = [jnp.roll(blocks[:, r], -r, axis=-1) for r in range(group)]
    while len(terms) > 1:  # Added in pairs, so that a sum of equal numbers is exact.
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]
