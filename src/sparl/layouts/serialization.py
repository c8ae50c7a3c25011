"""Layers as JSON and arrays, and layers from those.

A checkpoint stores a description, from which `blank` makes a layer of zeros, and fills that from
vectors of its own. A saved policy stores a description and the arrays themselves, from which
`unpack` makes the layer at once.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sparl.layouts.base import Layout, index_width
from sparl.layouts.block_circulant import BlockCirculant, grid
from sparl.layouts.dense import Dense
from sparl.layouts.packed import Packed
from sparl.layouts.row_sparse import RowSparse
from sparl.layouts.straight_through import StraightThrough
from sparl.topology import Kept, NofM, Pattern, PerLayer, PerRow

_PATTERN_KINDS = {"n_of_m": NofM, "per_row": PerRow, "per_layer": PerLayer}
_INDEX_TYPES = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def describe(layer: Layout) -> dict[str, Any]:
    """A layer's layout, shape and pattern as JSON: all that the shapes of its arrays depend on."""
    description: dict[str, Any] = {"layout": layer.name, "shape": list(layer.shape)}
    if isinstance(layer, RowSparse | StraightThrough):
        description["pattern"] = _describe_pattern(layer.pattern)
    if isinstance(layer, BlockCirculant):
        description |= {"group": layer.group, "blocks": layer.blocks}
    return description


def blank(description: dict[str, Any]) -> Layout:
    """A layer with this description; its values and its indices are all zeros."""
    outputs, inputs = description["shape"]
    weight, bias = jnp.zeros((outputs, inputs)), jnp.zeros(outputs)
    if description["layout"] == Dense.name:
        return Dense(weight, bias)
    if description["layout"] == BlockCirculant.name:
        return _blank_block_circulant(description)
    pattern = pattern_of(description)
    count = pattern.count(outputs, inputs)
    kept = Kept(jnp.zeros(count, jnp.int32), jnp.zeros(outputs + 1, jnp.int32))
    if description["layout"] == StraightThrough.name:
        return StraightThrough.of(weight, bias, pattern, kept)
    return RowSparse(
        weight=jnp.zeros(count),
        bias=bias,
        columns=kept.columns,
        row_starts=kept.row_starts,
        rows=jnp.zeros_like(kept.columns),
        column_starts=jnp.zeros(inputs + 1, jnp.int32),
        order=jnp.zeros_like(kept.columns),
        pattern=pattern,
    )


def pack(layer: Layout) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """A layer as its description and its arrays, with indices in the smallest type that fits.

    Indices that follow from the description are left out. The description also lists the names of
    the arrays.
    """
    arrays = {"weight": np.asarray(layer.weight), "bias": np.asarray(layer.bias)}
    if layer.index_bytes:
        assert isinstance(layer, Packed)
        column_type = _INDEX_TYPES[index_width(len(layer.column_starts) - 1)]
        arrays["columns"] = np.asarray(layer.columns).astype(column_type)
        if not isinstance(layer, RowSparse) or isinstance(layer.pattern, PerLayer):
            arrays["row_starts"] = np.asarray(layer.row_starts).astype(np.uint32)
    return describe(layer) | {"arrays": sorted(arrays)}, arrays


def unpack(description: dict[str, Any], arrays: dict[str, NDArray]) -> Layout:
    """The layer that `pack` turned into this description and these arrays."""
    weight, bias = jnp.asarray(arrays["weight"]), jnp.asarray(arrays["bias"])
    if description["layout"] == Dense.name:
        return Dense(weight, bias)
    outputs, inputs = description["shape"]
    if description["layout"] == BlockCirculant.name:
        return BlockCirculant.packed(weight, bias, inputs, _unpack_blocks(description, arrays))
    columns = arrays["columns"]
    if "row_starts" in arrays:
        row_starts = arrays["row_starts"]
    else:  # All rows keep the same number.
        row_starts = np.arange(outputs + 1) * (len(columns) // outputs)
    kept = _kept_places(columns, row_starts)
    return RowSparse.packed(weight, bias, inputs, pattern_of(description), kept)


def pattern_of(description: dict[str, Any]) -> Pattern:
    """The pattern in the description of a layer that has one."""
    fields = dict(description["pattern"])
    return _PATTERN_KINDS[fields.pop("kind")](**fields)


def _describe_pattern(pattern: Pattern) -> dict[str, Any]:
    """A pattern as JSON, which `pattern_of` reads."""
    match pattern:
        case NofM(n, m, v):
            return {"kind": "n_of_m", "n": n, "m": m} | ({"v": v} if v != 1 else {})
        case PerRow(kept):
            return {"kind": "per_row", "kept": kept}
        case PerLayer(kept):
            return {"kind": "per_layer", "kept": kept}


def _blank_block_circulant(description: dict[str, Any]) -> BlockCirculant:
    """`blank` of a block-circulant layer."""
    (outputs, inputs), group = description["shape"], description["group"]
    grid_rows, grid_columns = grid((outputs, inputs), group)
    indices = jnp.zeros(description["blocks"], jnp.int32)
    return BlockCirculant(
        weight=jnp.zeros((indices.size, group)),
        bias=jnp.zeros(outputs),
        columns=indices,
        row_starts=jnp.zeros(grid_rows + 1, jnp.int32),
        rows=jnp.zeros_like(indices),
        column_starts=jnp.zeros(grid_columns + 1, jnp.int32),
        order=jnp.zeros_like(indices),
        inputs=inputs,
    )


def _unpack_blocks(description: dict[str, Any], arrays: dict[str, NDArray]) -> Kept:
    """The kept places in the grid of a block-circulant layer."""
    if "columns" in arrays:
        return _kept_places(arrays["columns"], arrays["row_starts"])
    outputs, inputs = description["shape"]
    rows, columns = grid((outputs, inputs), description["group"])
    # All blocks are kept, so no indices are stored.
    return _kept_places(np.tile(np.arange(columns), rows), np.arange(rows + 1) * columns)


def _kept_places(columns: NDArray, row_starts: NDArray) -> Kept:
    """Kept places from indices of any integer type."""
    return Kept(jnp.asarray(columns.astype(np.int32)), jnp.asarray(row_starts.astype(np.int32)))
