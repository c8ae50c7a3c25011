"""What a network is to the kernels, and what they would refuse, said before they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int32


class Places(NamedTuple):
    """Where the kept values of packed rows lie, row by row and column by column.

    Value number k of row r is in column `columns[k]`, for k from `row_starts[r]` to
    `row_starts[r + 1]`. Entry k of column c is in row `rows[k]`, for k from `column_starts[c]` to
    `column_starts[c + 1]`, and is value number `order[k]`.
    """

    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " out_starts"]
    rows: Int32[Array, " kept"]
    column_starts: Int32[Array, " in_starts"]
    order: Int32[Array, " kept"]


class Layer(NamedTuple):
    """y = W x + b: W whole ([out, in], no places) or packed ([kept] at its places)."""

    weight: Float[Array, "out in"] | Float[Array, " kept"]
    bias: Float[Array, " out"]
    places: Places | None

    @property
    def in_features(self) -> int:
        return (
            self.weight.shape[1] if self.places is None else self.places.column_starts.shape[0] - 1
        )


class Form(NamedTuple):
    """How a vector of values and one of indices make a network (`Form` in operands.h)."""

    widths: tuple[int, ...]
    """Inputs, hidden widths, outputs."""
    kept: tuple[int, ...]
    """Stored weights of each packed layer, -1 for a dense one."""

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Form:
        widths = (layers[0].in_features, *(layer.bias.shape[0] for layer in layers))
        for i, layer in enumerate(layers):
            if layer.in_features != widths[i]:
                raise ValueError(f"layer {i} takes {layer.in_features} inputs and gets {widths[i]}")
        return cls(
            widths,
            tuple(-1 if layer.places is None else layer.weight.shape[0] for layer in layers),
        )


def check(layers: Sequence[Layer]) -> None:
    """Raises `ValueError` for shapes that do not belong together and for places outside a layer."""
    for i, layer in enumerate(layers):
        outputs, inputs = layer.bias.shape[0], layer.in_features
        if layer.places is None:
            wanted = {"weight": (outputs, inputs)}
        else:
            kept = layer.places.columns.shape
            wanted = {
                "weight": kept,
                "row_starts": (outputs + 1,),
                "rows": kept,
                "column_starts": (inputs + 1,),
                "order": kept,
            }
        for name, shape in wanted.items():
            array = layer.weight if name == "weight" else getattr(layer.places, name)
            if array.shape != shape:
                raise ValueError(f"layer {i}: {name} has shape {array.shape}, it must be {shape}")
        if layer.places is not None:
            check_indices(layer.places._asdict(), outputs, inputs, where=f"layer {i}: ")


def check_indices(arrays: dict[str, Array], outputs: int, inputs: int, where: str = "") -> None:
    """Raises `ValueError` for indices outside an [outputs, inputs] matrix; `arrays` by the names
    of `Places`, or some of them.

    Indices that are only being traced are looked at when the computation runs, by the kernels.
    """
    kept = arrays["columns"].shape[0]
    ends = {"columns": inputs, "rows": outputs, "order": kept}
    if any(isinstance(array, Tracer) for array in arrays.values()):
        return
    for name, array in arrays.items():
        array = np.asarray(array)
        if name in ends:
            outside = array[(array < 0) | (array >= ends[name])]
            if outside.size:
                raise ValueError(f"{where}{name} has {outside[0]}, outside 0..{ends[name] - 1}")
        elif array[0] != 0 or array[-1] != kept or (np.diff(array) < 0).any():
            raise ValueError(f"{where}{name} must go from 0 up to {kept}, never down")
