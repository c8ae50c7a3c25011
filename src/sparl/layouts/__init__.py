"""Layouts: how one linear layer is stored and multiplied. They know nothing of learning."""

from sparl.kernels import GROUPS
from sparl.layouts.base import Layout, index_width
from sparl.layouts.block_circulant import BlockCirculant, grid, projected
from sparl.layouts.dense import Dense
from sparl.layouts.packed import Packed
from sparl.layouts.row_sparse import RowSparse
from sparl.layouts.serialization import (
    LayerDescription,
    Size,
    blank,
    describe,
    pack,
    pattern_of,
    unpack,
)
from sparl.layouts.shared_rows import rows_that_share
from sparl.layouts.straight_through import StraightThrough

LAYOUTS: dict[str, type[Layout]] = {
    layout.name: layout for layout in (Dense, RowSparse, BlockCirculant, StraightThrough)
}
"""Every layout by its name."""

__all__ = [
    "GROUPS",
    "LAYOUTS",
    "BlockCirculant",
    "Dense",
    "LayerDescription",
    "Layout",
    "Packed",
    "RowSparse",
    "Size",
    "StraightThrough",
    "blank",
    "describe",
    "grid",
    "index_width",
    "pack",
    "pattern_of",
    "projected",
    "rows_that_share",
    "unpack",
]
