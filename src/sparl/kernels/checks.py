"""Checks of the kernels' operands before the kernels are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from sparl.kernels.forms import GROUPS, MOST_SHARE, Layer, Places, count_blocks


def check_layers(layers: Sequence[Layer]) -> None:
    """Checks the shapes of all arrays, and that no place lies outside its layer.

    Raises:
        ValueError: Names the layer, the array and what it must be.
    """
    for i, layer in enumerate(layers):
        group = layer.group
        if group != 1 and group not in GROUPS:
            raise ValueError(f"layer {i}: blocks have 2, 4, 8 or 16 rows, not {group}")
        if layer.places is None and (group != 1 or layer.inputs is not None):
            raise ValueError(f"layer {i}: a dense layer has no blocks")
        share = layer.share
        if not 1 <= share <= MOST_SHARE or (share > 1 and (group > 1 or layer.places is None)):
            raise ValueError(f"layer {i}: from 1 to 16 packed rows share columns, not {share}")
        rows = count_blocks(layer.bias.shape[0], group * share)
        columns = count_blocks(layer.in_features, group)
        if layer.places is None:
            expected_shapes = {"weight": (rows, columns)}
        else:
            kept = layer.places.columns.shape
            of_rows = (layer.bias.shape[0] * kept[0] // max(rows, 1),) if share > 1 else kept
            expected_shapes = {
                "weight": of_rows if group == 1 else (*kept, group),
                "row_starts": (rows + 1,),
                "rows": kept,
                "column_starts": (columns + 1,),
                "order": kept,
            }
        for name, shape in expected_shapes.items():
            array = layer.weight if name == "weight" else getattr(layer.places, name)
            if array.shape != shape:
                raise ValueError(f"layer {i}: {name} has shape {array.shape}, it must be {shape}")
        of_inputs = (layer.in_features,)
        for norm, shape in ((layer.norm, layer.bias.shape), (layer.input_norm, of_inputs)):
            for array in norm or ():
                if array.shape != shape:
                    raise ValueError(
                        f"layer {i}: its norm has shape {array.shape}, it must be {shape}"
                    )
        if layer.places is not None:
            check_indices(layer.places._asdict(), rows, columns, where=f"layer {i}: ")
            if share > 1:
                _check_even(layer.places, where=f"layer {i}: ")


def _check_even(places: Places, where: str) -> None:
    """Raises `ValueError` where not all rows of a grid keep the same number of places."""
    kept, starts = places.columns.shape[0], places.row_starts
    rows = starts.shape[0] - 1
    traced = isinstance(starts, Tracer)
    if kept % max(rows, 1) or (not traced and len(set(np.diff(np.asarray(starts)))) > 1):
        raise ValueError(f"{where}row_starts: rows that share columns must all keep the same count")


def check_indices(arrays: dict[str, Array], outputs: int, inputs: int, where: str = "") -> None:
    """Checks that indices stay inside a matrix, or a grid of blocks.

    Indices that are being traced have no values yet; the compiled kernels check them when they run.

    Args:
        arrays: Arrays of `Places` by name, `columns` at least.
        outputs: Rows of the matrix.
        inputs: Columns of the matrix.
        where: What the message begins with.

    Raises:
        ValueError: Names the array and the index.
    """
    kept = arrays["columns"].shape[0]
    limits = {"columns": inputs, "rows": outputs, "order": kept}
    if any(isinstance(array, Tracer) for array in arrays.values()):
        return
    for name, array in arrays.items():
        array = np.asarray(array)
        if name in limits:
            outside = array[(array < 0) | (array >= limits[name])]
            if outside.size:
                raise ValueError(f"{where}{name} has {outside[0]}, outside 0..{limits[name] - 1}")
        elif array[0] != 0 or array[-1] != kept or (np.diff(array) < 0).any():
            raise ValueError(f"{where}{name} must go from 0 up to {kept}, never down")
