"""The base of layouts that store only the kept places of a grid, with their indices."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, Int32

from sparl import kernels
from sparl.layouts.base import Layout


class Packed(Layout):
    """The kept places of a grid, row by row, and what is stored for each.

    The grid is made of the entries of W, or of blocks of them, or of what some neighbouring rows
    have in one column. `columns[row_starts[r]:row_starts[r + 1]]` are the kept columns of row r of
    the grid, ascending. `rows`, `column_starts` and `order` list the same places column by column,
    for gradients of the input (`kernels.Places`).

    Indices are constant between two restructurings. Gradients and optimizers see only `weight` and
    `bias`.
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
        """The indices as the kernels take them."""
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
