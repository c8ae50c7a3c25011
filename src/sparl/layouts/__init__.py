"""Layouts: how one linear layer is stored and multiplied. They know nothing of learning."""

from sparl.layouts.base import Layout
from sparl.layouts.dense import Dense
from sparl.layouts.description import blank, describe, pattern_of
from sparl.layouts.row_sparse import RowSparse
from sparl.layouts.straight_through import StraightThrough

LAYOUTS: dict[str, type[Layout]] = {
    layout.name: layout for layout in (Dense, RowSparse, StraightThrough)
}

__all__ = [
    "LAYOUTS",
    "Dense",
    "Layout",
    "RowSparse",
    "StraightThrough",
    "blank",
    "describe",
    "pattern_of",
]
