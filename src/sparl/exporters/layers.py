"""Layers as a device reads them: arrays in the order in which its loops go through them.

Neighbouring rows of a layer are sums that need not wait for each other. Where all weights are
stored, they lie column after column, so that a vector unit takes many rows at once; where rows keep
as many but others, in tiles of 8 rows whose weights of one step lie beside each other. Indices take
the bits they need: N:M the bits of a place within its group, others the smallest type that numbers
the columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparl.layouts import BlockCirculant, Dense, Layout, Packed, RowSparse, index_width
from sparl.topology import NofM, PerLayer

TILE = 8
"""Rows of a tile."""

UNSIGNED: dict[int, type[np.unsignedinteger]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}


@dataclass(frozen=True)
class DeviceLayer:
    """One layer: the loop it takes (a file of `templates/layers`), and the arrays for it."""

    loop: str
    outputs: int
    inputs: int
    sizes: tuple[int, ...]
    """What the loop is told besides the arrays, after them, in the order of its parameters."""
    weight: NDArray[Any]
    indices: dict[str, NDArray[np.unsignedinteger]]
    """By parameter of the loop; empty for those that a layer has no need of."""
    fixed: dict[str, int] = field(default_factory=dict)
    """Numbers that are written into the loop's text, for a compiler to unroll by."""

    @property
    def unit(self) -> int:
        """Inputs and outputs come in multiples of this, zeros in the padding."""
        return self.fixed["GROUP"] if self.loop == "circulant" else 1

    @property
    def nbytes(self) -> int:
        """Of weights and indices."""
        return self.weight.nbytes + sum(array.nbytes for array in self.indices.values())


def device_layer(layer: Layout, weight: NDArray[Any]) -> DeviceLayer:
    """A layer, with `weight`, aligned with its own, of the type that the device stores.

    One whose indices would cost more than they save is stored dense.
    """
    if isinstance(layer, BlockCirculant):
        return _circulant(layer, weight)
    if isinstance(layer, RowSparse):
        choices = _packed(layer, weight), _dense(matrix(layer, weight))
        return min(choices, key=lambda choice: choice.nbytes)
    assert isinstance(layer, Dense), layer.name  # a policy has no others
    return _dense(weight)


def _dense(weight: NDArray[Any]) -> DeviceLayer:
    outputs, inputs = weight.shape
    return DeviceLayer("dense", outputs, inputs, (outputs, inputs), weight.T.reshape(-1), {})


def _packed(layer: RowSparse, weight: NDArray[Any]) -> DeviceLayer:
    outputs, inputs = layer.shape
    columns = np.asarray(layer.columns)
    column_type = UNSIGNED[index_width(inputs)]
    if isinstance(layer.pattern, PerLayer):
        starts = np.asarray(layer.row_starts)
        start_type = UNSIGNED[index_width(layer.kept + 1)]
        indices = {"column": columns.astype(column_type), "start": starts.astype(start_type)}
        return DeviceLayer("csr", outputs, inputs, (outputs,), weight, indices)
    rows = weight.reshape(outputs, -1)
    of_rows, kept = columns.reshape(rows.shape), rows.shape[1]
    if isinstance(layer.pattern, NofM):
        n, m = layer.pattern.n, layer.pattern.m
        bits = (m - 1).bit_length()
        places = of_rows - np.arange(kept) // n * m
        indices = {"place": _in_bits(places, bits)}
        fixed = {"KEEP": n, "GROUP": m, "BITS": bits}
        return DeviceLayer("n_of_m", outputs, inputs, (outputs, kept), _tiled(rows), indices, fixed)
    indices = {"column": _tiled(of_rows).astype(column_type)}
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


def _tiled(rows: NDArray[Any]) -> NDArray[Any]:
    """[rows, steps], tile after tile of rows, of each its rows' first step, then the second, …"""
    return np.concatenate([rows[r : r + TILE].T.reshape(-1) for r in range(0, len(rows), TILE)])


def _in_bits(places: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Places [rows, steps], of `bits` each: those of a tile's rows at one step in `bits` bytes, the
    first row's lowest."""
    padded = np.pad(places.astype(np.uint64), ((0, -len(places) % TILE), (0, 0)))
    tiles = padded.reshape(-1, TILE, places.shape[1])
    shifts = (bits * np.arange(TILE, dtype=np.uint64))[:, None]
    words = np.bitwise_or.reduce(tiles << shifts, axis=1)
    return words.astype("<u8")[..., None].view(np.uint8)[..., :bits].reshape(-1)


def places(layer: Layout) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The row and column of every stored weight, those of its block where blocks share weights; in
    shapes that broadcast to the weights'."""
    if isinstance(layer, Packed):
        starts = np.asarray(layer.row_starts)
        rows = np.arange(len(starts) - 1).repeat(np.diff(starts))
        columns = np.asarray(layer.columns)
        blocks = isinstance(layer, BlockCirculant)
        return (rows[:, None], columns[:, None]) if blocks else (rows, columns)
    rows, columns = map(np.arange, layer.shape)
    return rows[:, None], columns[None, :]


def matrix(layer: Layout, weight: NDArray[Any]) -> NDArray[Any]:
    """What is aligned with a layer's weights as a dense matrix [out, in], of any type."""
    group = layer.group if isinstance(layer, BlockCirculant) else 1
    rows, columns = places(layer)
    found = np.zeros([-(-n // group) * group for n in layer.shape], weight.dtype)
    if group == 1:
        found[rows, columns] = weight
        return found
    for r, s in np.ndindex(group, group):
        found[rows * group + r, columns * group + s] = weight[:, (s - r) % group, None]
    return found[: layer.out_features, : layer.in_features]
