"""Layers as JSON: how a layer is stored, without its numbers, and a layer of zeros from that."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from sparl.layouts.base import Layout
from sparl.layouts.block_circulant import BlockCirculant, grid
from sparl.layouts.dense import Dense
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
