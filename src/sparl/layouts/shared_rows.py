"""Rows that share their columns: the columns are stored once for V rows.

`Kept` has the places of every row. Layers and files have those of groups of V neighbouring rows, of
which the last may have fewer. All rows under such a pattern keep the same number of columns.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.topology import Kept, Pattern, PerLayer


def rows_that_share(pattern: Pattern) -> int:
    """V: how many neighbouring rows share their columns under a pattern; 1 where none do."""
    return 1 if isinstance(pattern, PerLayer) else pattern.v


def stored_columns(pattern: Pattern, rows: int, kept: int) -> int:
    """The number of columns that are stored for so many rows with `kept` weights."""
    share = rows_that_share(pattern)
    return kept if share == 1 else kept // rows * -(-rows // share)


def places_of_groups(kept: Kept, pattern: Pattern) -> Kept:
    """The kept places once for all rows that share them, from those of every row."""
    share = rows_that_share(pattern)
    if share == 1:
        return kept
    columns = kept.columns.reshape(kept.row_starts.shape[0] - 1, -1)[::share]
    row_starts = columns.shape[1] * jnp.arange(columns.shape[0] + 1, dtype=jnp.int32)
    return Kept(columns.reshape(-1), row_starts)


def columns_of_all_rows(columns: NDArray, rows: int, per_row: int, share: int) -> NDArray:
    """The columns of every row, from those of a file.

    Files of sparl 0.2 have them for every row already.

    Args:
        columns: Of groups of rows, or of every row.
        rows: The number of rows.
        per_row: The number of columns of each.
        share: The rows of a group.

    Raises:
        ValueError: The file has different columns for rows that are to share them.
    """
    grouped = columns.reshape(-1, per_row)
    if len(grouped) != rows:
        return grouped.repeat(share, axis=0)[:rows].reshape(-1)
    if not np.array_equal(grouped[::share].repeat(share, axis=0)[:rows], grouped):
        raise ValueError(f"{share} neighbouring rows must keep the same columns")
    return columns
