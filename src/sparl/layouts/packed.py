"""What layouts share that store some places of a grid, row after row, and name them by indices."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, Int32

from sparl import kernels
from sparl.layouts.base import Layout


class Packed(Layout):
    """Kept places of a grid (of the entries of W, or of blocks of it), and what is stored of each.

    `columns[row_starts[r]:row_starts[r + 1]]` are the columns of row r, ascending; `weight` has
    what is stored in the same order. `rows`, `column_starts` and `order` are the same places column
    by column, for input gradients (`kernels.Places`). Indices are constants of the stretch between
    two restructurings: gradients and optimizers see `weight` and `bias` alone.
    """

    weight: jax.Array
    bias: Float[Array, " out"]
    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " row_starts"]
    rows: Int32[Array, " kept"]
    column_starts: Int32[Array, " column_starts"]
    order: Int32[Array, " kept"]

    @property
    def places(self) -> kernels.Places:
        return kernels.Places(
            self.columns, self.row_starts, self.rows, self.column_starts, self.order
        )

    def apply(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        form = self.kernel_form()
        assert form is not None
        return kernels.network([form], x)

    @property
    def kept(self) -> int:
        return self.weight.size

    @property
    def row_of_each(self) -> Int32[Array, " kept"]:
        """The row of each kept place, in the order of `columns`."""
        return kernels.rows_of(self.row_starts, self.columns.shape[0])
