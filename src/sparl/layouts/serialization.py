"""Layers as JSON: how a layer is stored, without its numbers, and a layer of zeros from that."""

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


def describe(layer: Layout) -> dict[str, Any]:
    """Layout, shape and pattern: all that the shapes of a layer's arrays depend on."""
    description: dict[str, Any] = {"layout": layer.name, "shape": list(layer.shape)}
    if isinstance(layer, RowSparse | StraightThrough):
        description["pattern"] = _describe_pattern(layer.pattern)
    if isinstance(layer, BlockCirculant):
        description |= {"group": layer.group, "blocks": layer.blocks}
    return description


def blank(description: dict[str, Any]) -> Layout:
    """A layer that `describe` would describe so, with zeros in it; its indices are zeros too."""
    outputs, inputs = description["shape"]
    weight, bias = jnp.zeros((outputs, inputs)), jnp.zeros(outputs)
    if description["layout"] == Dense.name:
        return Dense(weight, bias)
    if description["layout"] == BlockCirculant.name:
        return _blank_circulant(description)
    pattern = pattern_of(description)
    count = pattern.count(outputs, inputs)
    kept = Kept(jnp.zeros(count, jnp.int32), jnp.zeros(outputs + 1, jnp.int32))
    if description["layout"] == StraightThrough.name:
        return StraightThrough.of(weight, bias, pattern, kept)
    column_starts = jnp.zeros(inputs + 1, jnp.int32)
    return RowSparse(
        jnp.zeros(count), bias, *kept, jnp.zeros_like(kept.columns), column_starts,
        jnp.zeros_like(kept.columns), pattern,
    )  # fmt: skip


def _blank_circulant(description: dict[str, Any]) -> BlockCirculant:
    (outputs, inputs), group = description["shape"], description["group"]
    rows, columns = grid((outputs, inputs), group)
    blocks = jnp.zeros(description["blocks"], jnp.int32)
    starts = jnp.zeros(rows + 1, jnp.int32), jnp.zeros(columns + 1, jnp.int32)
    weight, bias = jnp.zeros((blocks.size, group)), jnp.zeros(outputs)
    return BlockCirculant(
        weight, bias, blocks, starts[0], jnp.zeros_like(blocks), starts[1],
        jnp.zeros_like(blocks), inputs,
    )  # fmt: skip


def pattern_of(description: dict[str, Any]) -> Pattern:
    """The pattern of a described layer that has one."""
    content = description["pattern"]
    kinds = {"n_of_m": NofM, "per_row": PerRow, "per_layer": PerLayer}
    return kinds[content["kind"]](**{k: v for k, v in content.items() if k != "kind"})


def _describe_pattern(pattern: Pattern) -> dict[str, Any]:
    match pattern:
        case NofM(n, m, v):
            return {"kind": "n_of_m", "n": n, "m": m} | ({"v": v} if v != 1 else {})
        case PerRow(kept):
            return {"kind": "per_row", "kept": kept}
        case PerLayer(kept):
            return {"kind": "per_layer", "kept": kept}


def pack(layer: Layout) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """A layer as JSON and arrays, indices in the smallest type that holds them."""
    arrays = {"weight": np.asarray(layer.weight), "bias": np.asarray(layer.bias)}
    if layer.index_bytes:
        assert isinstance(layer, Packed)
        width = index_width(len(layer.column_starts) - 1)
        index_type = {1: np.uint8, 2: np.uint16, 4: np.uint32}[width]
        arrays["columns"] = np.asarray(layer.columns).astype(index_type)
        rows_alike = isinstance(layer, RowSparse) and not isinstance(layer.pattern, PerLayer)
        if not rows_alike:
            arrays["row_starts"] = np.asarray(layer.row_starts).astype(np.uint32)
    return describe(layer) | {"arrays": sorted(arrays)}, arrays


def unpack(description: dict[str, Any], arrays: dict[str, NDArray]) -> Layout:
    weight, bias = jnp.asarray(arrays["weight"]), jnp.asarray(arrays["bias"])
    if description["layout"] == Dense.name:
        return Dense(weight, bias)
    outputs, inputs = description["shape"]
    if description["layout"] == BlockCirculant.name:
        return BlockCirculant.packed(weight, bias, inputs, _blocks(description, arrays))
    pattern = pattern_of(description)
    columns = arrays["columns"].astype(np.int32)
    if "row_starts" in arrays:
        row_starts = arrays["row_starts"].astype(np.int32)
    else:
        row_starts = np.arange(outputs + 1, dtype=np.int32) * (len(columns) // outputs)
    kept = Kept(jnp.asarray(columns), jnp.asarray(row_starts))
    return RowSparse.packed(weight, bias, inputs, pattern, kept)


def _blocks(description: dict[str, Any], arrays: dict[str, NDArray]) -> Kept:
    """Those of a block-circulant layer; where all are kept, there are no indices."""
    outputs, inputs = description["shape"]
    rows, columns = grid((outputs, inputs), description["group"])
    if "columns" in arrays:
        found = arrays["columns"], arrays["row_starts"]
    else:
        found = np.tile(np.arange(columns), rows), np.arange(rows + 1) * columns
    return Kept(*(jnp.asarray(array.astype(np.int32)) for array in found))
