"""Layers as a device reads them: arrays in the order in which the exported loops go through them.

Sums of neighbouring rows do not depend on each other, so a processor can work on several at once.
The order of the weights follows from that:

- Where every weight is stored, weights lie column by column, so that a vector unit takes many rows
  at once.
- Where every row keeps equally many weights at different columns, rows form tiles of 8. Within a
  tile, the weights that the 8 rows need in one step lie beside each other.
- Where V neighbouring rows keep the same columns, they are such a tile. Its columns are
  stored once.

Indices take as few bits as they need. N:M stores the place of a weight within its group of M, in
whole bits. Other patterns store the column, in the smallest integer type that holds all columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparl.layouts import (
    BlockCirculant,
    Dense,
    Layout,
    Packed,
    RowSparse,
    index_width,
    rows_that_share,
)
from sparl.topology import NofM, PerLayer

TILE = 8
"""Rows of a tile."""

UNSIGNED: dict[int, type[np.unsignedinteger]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}
"""Index types by their size in bytes."""


@dataclass(frozen=True)
class DeviceLayer:
    """One layer of an exported policy: the loop that computes it, and the arrays for that loop."""

    loop: str
    """Name of the loop, a file of `templates/parts`."""
    outputs: int
    inputs: int
    sizes: tuple[int, ...]
    """Integer arguments of the loop, which follow the arrays, in the order of its parameters."""
    weight: NDArray[Any]
    indices: dict[str, NDArray[np.unsignedinteger]]
    """Index arrays by parameter of the loop; empty for a layer that needs none."""
    fixed: dict[str, int] = field(default_factory=dict)
    """Constants written into the loop's text, so that the compiler can unroll by them."""

    @property
    def unit(self) -> int:
        """Inputs and outputs are padded with zeros to a multiple of this."""
        return self.fixed["GROUP"] if self.loop == "circulant" else 1

    @property
    def nbytes(self) -> int:
        """Bytes of weights and indices."""
        return self.weight.nbytes + sum(array.nbytes for array in self.indices.values())


class WeightPlaces(NamedTuple):
    """Where the stored weights of a layer are, in shapes that broadcast to the weights' shape.

    Layouts whose blocks share weights give the place of the block.
    """

    rows: NDArray[np.integer]
    columns: NDArray[np.integer]


def device_layer(layer: Layout, weight: NDArray[Any]) -> DeviceLayer:
    """Gives a layer in the form that its exported loop reads.

    A sparse layer is stored dense where its indices cost as many bytes as they save, or more.

    Args:
        layer: The layer of the policy.
        weight: Its weights in the type that the device stores, aligned with `layer.weight`.
    """
    if isinstance(layer, BlockCirculant):
        return _circulant(layer, weight)
    if isinstance(layer, RowSparse):
        choices = _dense(dense_matrix(layer, weight)), _packed(layer, weight)
        return min(choices, key=lambda choice: choice.nbytes)
    assert isinstance(layer, Dense), layer.name  # policies have no other layouts
    return _dense(weight)


def _dense(weight: NDArray[Any]) -> DeviceLayer:
    outputs, inputs = weight.shape
    return DeviceLayer("dense", outputs, inputs, (outputs, inputs), weight.T.reshape(-1), {})


def _packed(layer: RowSparse, weight: NDArray[Any]) -> DeviceLayer:
    outputs, inputs = layer.shape
    columns = np.asarray(layer.kept_places.columns)
    column_type = UNSIGNED[index_width(inputs)]
    if isinstance(layer.pattern, PerLayer):
        starts = np.asarray(layer.row_starts)
        start_type = UNSIGNED[index_width(layer.kept + 1)]
        indices = {"column": columns.astype(column_type), "start": starts.astype(start_type)}
        return DeviceLayer("csr", outputs, inputs, (outputs,), weight, indices)
    rows = weight.reshape(outputs, -1)
    row_columns, kept = columns.reshape(rows.shape), rows.shape[1]
    share = min(rows_that_share(layer.pattern), outputs)
    if isinstance(layer.pattern, NofM):
        n, m = layer.pattern.n, layer.pattern.m
        group_places, bits = row_columns - np.arange(kept) // n * m, (m - 1).bit_length()
        fixed, sizes = {"KEEP": n, "GROUP": m, "BITS": bits}, (outputs, kept)
        if share == 1:
            padded = np.pad(group_places, ((0, -outputs % TILE), (0, 0)))
            indices = {"place": _in_bits(_tiled(padded).reshape(-1, TILE), bits)}
            return DeviceLayer("n_of_m", outputs, inputs, sizes, _tiled(rows), indices, fixed)
        indices = {"place": _in_bits(group_places[::share], bits)}
        fixed |= {"SHARE": share}
        weight = _tiled(rows, share)
        return DeviceLayer("shared_rows", outputs, inputs, sizes, weight, indices, fixed)
    if share > 1:
        indices = {"column": row_columns[::share].reshape(-1).astype(column_type)}
        sizes, weight, fixed = (outputs, kept), _tiled(rows, share), {"SHARE": share}
        return DeviceLayer("shared_columns", outputs, inputs, sizes, weight, indices, fixed)
    indices = {"column": _tiled(row_columns).astype(column_type)}
    return DeviceLayer("per_row", outputs, inputs, (outputs, kept), _tiled(rows), indices)


def _circulant(layer: BlockCirculant, weight: NDArray[Any]) -> DeviceLayer:
    rows, columns = layer.grid
    indices: dict[str, NDArray[np.unsignedinteger]] = {}
    if layer.blocks < rows * columns:
        column_type, start_type = (UNSIGNED[index_width(n)] for n in (columns, layer.blocks + 1))
        indices = {
            "column": np.asarray(layer.columns).astype(column_type),
            "start": np.asarray(layer.row_starts).astype(start_type),
        }
    fixed = {"GROUP": layer.group}
    flat = weight.reshape(-1)
    return DeviceLayer("circulant", *layer.shape, (rows, columns), flat, indices, fixed)


def _tiled(rows: NDArray[Any], tile: int = TILE) -> NDArray[Any]:
    """Orders [rows, steps] tile by tile, and within a tile step by step over its rows."""
    return np.concatenate([rows[r : r + tile].T.reshape(-1) for r in range(0, len(rows), tile)])


def _in_bits(group_places: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Packs lines [line, place] of `bits` bits each: whole bytes per line, first place lowest."""
    digits = group_places[..., None] >> np.arange(bits) & 1
    return np.packbits(digits.reshape(len(digits), -1), axis=1, bitorder="little").reshape(-1)


def places(layer: Layout) -> WeightPlaces:
    """Gives the row and the column of every stored weight of a layer, or of its block."""
    if isinstance(layer, Packed):
        grid = layer.kept_places if isinstance(layer, RowSparse) else layer
        starts = np.asarray(grid.row_starts)
        rows = np.arange(len(starts) - 1).repeat(np.diff(starts))
        columns = np.asarray(grid.columns)
        if isinstance(layer, BlockCirculant):
            return WeightPlaces(rows[:, None], columns[:, None])
        return WeightPlaces(rows, columns)
    rows, columns = map(np.arange, layer.shape)
    return WeightPlaces(rows[:, None], columns[None, :])


def dense_matrix(layer: Layout, weight: NDArray[Any]) -> NDArray[Any]:
    """Spreads values that are aligned with a layer's weights over a dense matrix [out, in].

    Args:
        layer: The layer that says where each value belongs.
        weight: The values, of any type.
    """
    group = layer.group if isinstance(layer, BlockCirculant) else 1
    rows, columns = places(layer)
    dense = np.zeros([-(-n // group) * group for n in layer.shape], weight.dtype)
    if group == 1:
        dense[rows, columns] = weight
        return dense
    for r, s in np.ndindex(group, group):
        dense[rows * group + r, columns * group + s] = weight[:, (s - r) % group, None]
    return dense[: layer.out_features, : layer.in_features]
