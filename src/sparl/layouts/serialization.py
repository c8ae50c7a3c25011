"""Layers as JSON and arrays, and layers from those.

A checkpoint stores a description, from which `blank` makes a layer of zeros, and fills that from
vectors of its own. A saved policy stores a description and the arrays themselves, from which
`unpack` makes the layer at once.

What a file says is first checked against `LayerDescription`. Then its arrays are compared with the
shapes that follow from it, before anything of these shapes is made.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import msgspec
import numpy as np
from numpy.typing import NDArray

from sparl.errors import BadFile
from sparl.kernels import GROUPS
from sparl.layouts.base import Layout, index_width
from sparl.layouts.block_circulant import BlockCirculant, grid
from sparl.layouts.dense import Dense
from sparl.layouts.packed import Packed
from sparl.layouts.row_sparse import RowSparse
from sparl.layouts.shared_rows import columns_of_all_rows, rows_that_share, stored_columns
from sparl.layouts.straight_through import StraightThrough
from sparl.topology import Kept, NofM, Pattern, PerLayer, PerRow

_PATTERN_KINDS = {"n_of_m": NofM, "per_row": PerRow, "per_layer": PerLayer}
_INDEX_TYPES = {1: np.uint8, 2: np.uint16, 4: np.uint32}
Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""Of an array in one direction."""


class _Described(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """What files have in common for all layers and patterns."""


class NofMDescription(_Described, tag_field="kind", tag="n_of_m", frozen=True):
    """`NofM`."""

    n: Size
    m: Size
    v: Size = 1

    def __post_init__(self) -> None:
        NofM(self.n, self.m, self.v)  # raises a ValueError for one that is not possible


class PerRowDescription(_Described, tag_field="kind", tag="per_row", frozen=True):
    """`PerRow`."""

    kept: Size
    v: Size = 1

    def __post_init__(self) -> None:
        PerRow(self.kept, self.v)  # raises a ValueError for one that is not possible


class PerLayerDescription(_Described, tag_field="kind", tag="per_layer", frozen=True):
    """`PerLayer`."""

    kept: Size


PatternDescription = NofMDescription | PerRowDescription | PerLayerDescription


class _LayerDescription(_Described, tag_field="layout", frozen=True):
    shape: tuple[Size, Size]
    """(out, in)."""
    arrays: tuple[Literal["bias", "columns", "row_starts", "weight"], ...] | None = None
    """The names of its arrays in a saved policy."""


class DenseDescription(_LayerDescription, tag=Dense.name, frozen=True):
    """`Dense`."""


class RowSparseDescription(_LayerDescription, tag=RowSparse.name, kw_only=True, frozen=True):
    """`RowSparse`."""

    pattern: PatternDescription


class StraightThroughDescription(
    _LayerDescription, tag=StraightThrough.name, kw_only=True, frozen=True
):
    """`StraightThrough`."""

    pattern: PatternDescription


class BlockCirculantDescription(
    _LayerDescription, tag=BlockCirculant.name, kw_only=True, frozen=True
):
    """`BlockCirculant`."""

    group: Size
    blocks: Size

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"blocks have 2, 4, 8 or 16 rows, not {self.group}")
        if self.blocks > math.prod(grid(self.shape, self.group)):
            raise ValueError(f"a layer {self.shape} does not have {self.blocks} blocks")


LayerDescription = (
    DenseDescription | RowSparseDescription | StraightThroughDescription | BlockCirculantDescription
)
"""The schema of what `describe` gives."""


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
    if description["layout"] == StraightThrough.name:
        kept = Kept(jnp.zeros(count, jnp.int32), jnp.zeros(outputs + 1, jnp.int32))
        return StraightThrough.of(weight, bias, pattern, kept)
    groups = -(-outputs // rows_that_share(pattern))
    columns = jnp.zeros(stored_columns(pattern, outputs, count), jnp.int32)
    return RowSparse(
        weight=jnp.zeros(count),
        bias=bias,
        columns=columns,
        row_starts=jnp.zeros(groups + 1, jnp.int32),
        rows=jnp.zeros_like(columns),
        column_starts=jnp.zeros(inputs + 1, jnp.int32),
        order=jnp.zeros_like(columns),
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


def unpack(
    description: dict[str, Any], arrays: dict[str, NDArray], file: str = "", name: str = "layer"
) -> Layout:
    """The layer that `pack` turned into this description and these arrays.

    Args:
        description: Fits `LayerDescription`.
        arrays: By the names in the description.
        file: What messages call the arrays' file.
        name: What messages call the layer.

    Raises:
        BadFile: The arrays have other types or shapes than follow from the description, or indices
            that lie outside of the layer.
    """
    _refuse_other_arrays(description, arrays, file, name)
    weight, bias = jnp.asarray(arrays["weight"]), jnp.asarray(arrays["bias"])
    if description["layout"] == Dense.name:
        return Dense(weight, bias)
    outputs, inputs = description["shape"]
    try:
        if description["layout"] == BlockCirculant.name:
            return BlockCirculant.packed(weight, bias, inputs, _unpack_blocks(description, arrays))
        pattern, columns = pattern_of(description), arrays["columns"]
        if "row_starts" in arrays:
            row_starts = arrays["row_starts"]
        else:  # All rows keep the same number.
            per_row = len(weight) // outputs
            columns = columns_of_all_rows(columns, outputs, per_row, rows_that_share(pattern))
            row_starts = np.arange(outputs + 1) * per_row
        kept = _kept_places(columns, row_starts)
        return RowSparse.packed(weight, bias, inputs, pattern, kept)
    except ValueError as error:
        raise BadFile(f"{file}: {name} has indices that do not fit: {error}", file=file) from error


def pattern_of(description: dict[str, Any]) -> Pattern:
    """The pattern in the description of a layer that has one."""
    fields = dict(description["pattern"])
    return _PATTERN_KINDS[fields.pop("kind")](**fields)


def _refuse_other_arrays(
    description: dict[str, Any], arrays: dict[str, NDArray], file: str, name: str
) -> None:
    """Raises `BadFile` where arrays have other types or shapes than follow from a description."""
    outputs, inputs = description["shape"]
    shapes: dict[str, tuple[int, ...]] = {"bias": (outputs,)}
    if description["layout"] == Dense.name:
        shapes["weight"] = (outputs, inputs)
    elif description["layout"] == RowSparse.name:
        pattern = pattern_of(description)
        count = pattern.count(outputs, inputs)
        shapes["weight"] = shapes["columns"] = (count,)
        # Files of sparl 0.2 have columns for every row, also where rows share them.
        if "columns" not in arrays or arrays["columns"].shape != (count,):
            shapes["columns"] = (stored_columns(pattern, outputs, count),)
        if isinstance(pattern, PerLayer):
            shapes["row_starts"] = (outputs + 1,)
    elif description["layout"] == BlockCirculant.name:
        group, blocks = description["group"], description["blocks"]
        cells = grid((outputs, inputs), group)
        shapes["weight"] = (blocks, group)
        if blocks < math.prod(cells):
            shapes |= {"columns": (blocks,), "row_starts": (cells[0] + 1,)}
    else:
        raise BadFile(
            f"{file}: {name} is {description['layout']}, which no policy has",
            file=file,
            field=name,
            value=description["layout"],
        )
    found = {key: array.shape for key, array in arrays.items()}
    typed = all(
        array.dtype in _INDEX_TYPES.values()
        if key in ("columns", "row_starts")
        else array.dtype == np.float32
        for key, array in arrays.items()
    )
    if found != shapes or not typed:
        raise BadFile(
            f"{file}: {name}, {description['layout']} of shape {outputs} x {inputs}, should have "
            f"arrays of shapes {shapes}, and has {found}",
            file=file,
            field=name,
            value=found,
        )


def _describe_pattern(pattern: Pattern) -> dict[str, Any]:
    """A pattern as JSON, which `pattern_of` reads."""
    match pattern:
        case NofM(n, m, v):
            return {"kind": "n_of_m", "n": n, "m": m} | ({"v": v} if v != 1 else {})
        case PerRow(kept, v):
            return {"kind": "per_row", "kept": kept} | ({"v": v} if v != 1 else {})
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
