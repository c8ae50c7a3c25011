"""What a network is to the kernels, and what they would refuse, said before they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int32


class Places(NamedTuple):
    """Where the kept values of packed rows (or blocks) lie, row by row and column by column.

    Value number k of row r is in column `columns[k]`, for k from `row_starts[r]` to
    `row_starts[r + 1]`. Entry k of column c is in row `rows[k]`, for k from `column_starts[c]` to
    `column_starts[c + 1]`, and is value number `order[k]`.
    """

    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " out_starts"]
    rows: Int32[Array, " kept"]
    column_starts: Int32[Array, " in_starts"]
    order: Int32[Array, " kept"]


GROUPS = (2, 4, 8, 16)
"""Sizes that circulant blocks may have."""


BATCH_EPSILON = 1e-3
"""Added to a batch norm's variance; that of Keras, in which OFENet's authors wrote (2003.01629)."""


class Layer(NamedTuple):
    """y = W x + b: W whole ([out, in], no places), packed ([kept] at its places), or packed blocks.

    With a `group` above 1, W is cut into blocks of that many rows and columns, those of the last
    ones cut short; kept block number n, with its first row in `weight[n]`, is circulant:
    block[r, s] = weight[n, (s - r) mod group]. Its places are among the blocks.
    """

    weight: Float[Array, "out in"] | Float[Array, " kept"] | Float[Array, "kept group"]
    bias: Float[Array, " out"]
    places: Places | None
    group: int = 1
    inputs: int | None = None
    """Of a layer of blocks, for places tell no more than their number; whole ones if not given."""
    norm: tuple[Array, Array, Array, Array] | None = None
    """Of a batch norm between sums and activation: gain, shift, mean and variance, [out] each."""

    @property
    def in_features(self) -> int:
        if self.places is None:
            return self.weight.shape[1]
        if self.inputs is not None:
            return self.inputs
        return self.group * (self.places.column_starts.shape[0] - 1)


# As any named tuple, but for `group` and `inputs`, which are static.
jax.tree_util.register_pytree_node(
    Layer,
    lambda layer: ((*layer[:3], layer.norm), (layer.group, layer.inputs)),
    lambda static, arrays: Layer(*arrays[:3], *static, arrays[3]),
)


Activation = Literal["relu", "swish", "elu", "tanh"]
"""Swish is x sigmoid(x). Each takes 0 to 0: a neuron that is switched off relies on it."""
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


class Connections(NamedTuple):
    """What each layer reads, and what becomes of its sums.

    Value 0 is the network's input, value k what layer k - 1 gives.
    """

    reads: tuple[tuple[int, ...], ...]
    """The values that are a layer's input, one behind the other."""
    activations: tuple[Activation | None, ...]
    gives: tuple[int, ...] = ()
    """The values that the network gives, one behind the other; empty for the last layer's alone."""

    @classmethod
    def chain(cls, layers: int, relu_last: bool = False) -> Connections:
        """One layer after the other with ReLU between them and, with `relu_last`, at the end."""
        last: tuple[Activation | None] = ("relu",) if relu_last else (None,)
        return cls(tuple((i,) for i in range(layers)), ("relu",) * (layers - 1) + last)


class Form(NamedTuple):
    """How a vector of values and one of indices make a network (`form.h`)."""

    widths: tuple[int, ...]
    """Features of every value: of the input, and of what each layer gives."""
    kept: tuple[int, ...]
    """Stored weights of each packed layer, or its blocks; -1 for a dense one."""
    groups: tuple[int, ...]
    """The size of each layer's circulant blocks, 1 where it has none."""
    normed: tuple[bool, ...]
    """Whether a layer has a batch norm."""
    connections: Connections
    """What the network gives is always named here."""

    @classmethod
    def of(cls, layers: Sequence[Layer], connections: Connections | None = None) -> Form:
        """Connected as a chain where nothing else is said. Raises `ValueError` for layers that do
        not fit together."""
        if connections is None:
            connections = Connections.chain(len(layers))
        if not len(layers) == len(connections.reads) == len(connections.activations):
            raise ValueError(f"{len(layers)} layers cannot be connected by {connections}")
        connections = connections._replace(gives=connections.gives or (len(layers),))
        first = layers[0].in_features // len(connections.reads[0])  # it can read nothing else
        form = cls(
            (first, *(layer.bias.shape[0] for layer in layers)),
            tuple(-1 if layer.places is None else layer.weight.shape[0] for layer in layers),
            tuple(layer.group for layer in layers),
            tuple(layer.norm is not None for layer in layers),
            connections,
        )
        for i, (layer, gets) in enumerate(zip(layers, form.inputs, strict=True)):
            if layer.in_features != gets:
                raise ValueError(f"layer {i} takes {layer.in_features} inputs and gets {gets}")
        return form

    @property
    def inputs(self) -> tuple[int, ...]:
        """Of each layer."""
        return tuple(sum(self.widths[value] for value in read) for read in self.connections.reads)

    @property
    def outputs(self) -> int:
        """Features of all that the network gives."""
        return sum(self.widths[value] for value in self.connections.gives)

    @property
    def code(self) -> tuple[int, ...]:
        """For the compiled kernels: see `Form` in form.h."""
        reads, activations, gives = self.connections
        kinds = zip(self.widths[1:], self.kept, self.groups, strict=True)
        layers = zip(kinds, activations, self.normed, reads, strict=True)
        known = (None, *ACTIVATIONS)
        coded = (
            (*kind, known.index(activation), int(normed), len(read), *read)
            for kind, activation, normed, read in layers
        )
        numbers = (number for layer in coded for number in layer)
        return (self.widths[0], len(gives), *gives, *numbers)

    @property
    def attributes(self) -> dict[str, Any]:
        """What a call of the kernels is told of it."""
        return {"form": np.asarray(self.code, np.int64)}

    def check_input(self, x: Float[Array, "in batch"]) -> None:
        """Raises `ValueError` for another width than the network's."""
        if x.shape[0] != self.widths[0]:
            raise ValueError(f"layer 0 takes {self.widths[0]} inputs and gets {x.shape[0]}")

    @property
    def taped_features(self) -> int:
        """What a forward call keeps for the backward one, for each sample (`Taped` in form.h)."""
        reads, activations, _ = self.connections
        read = {value for values in reads for value in values}
        layers = list(enumerate(zip(self.widths[1:], activations, strict=True), start=1))
        ends = sum(width for value, (width, a) in layers if a and value not in read)
        return sum(self.inputs) + ends + sum(width for _, (width, a) in layers if a == "swish")

    @property
    def delta_features(self) -> int:
        """What gradients of values are made from, for each sample (`Deltas` in form.h)."""
        count = 0
        for inputs, outputs, group in zip(self.inputs, self.widths[1:], self.groups, strict=True):
            count += group * blocks(outputs, group)
            if group > 1:
                count += group * blocks(inputs, group)
        return count


def affine(gain: Any, shift: Any, mean: Any, variance: Any) -> tuple[Any, Any]:
    """Factor and offset of each feature, [out]: all that is left of a batch norm after training.

    Of arrays of JAX or of NumPy.
    """
    factor = gain * (variance + BATCH_EPSILON) ** -0.5
    return factor, shift - factor * mean


def blocks(features: int, group: int) -> int:
    """How many blocks it takes to cover them."""
    return -(-features // group)


def check(layers: Sequence[Layer]) -> None:
    """Raises `ValueError` for shapes that do not belong together and for places outside a layer."""
    for i, layer in enumerate(layers):
        group = layer.group
        if group != 1 and group not in GROUPS:
            raise ValueError(f"layer {i}: blocks have 2, 4, 8 or 16 rows, not {group}")
        if layer.places is None and (group != 1 or layer.inputs is not None):
            raise ValueError(f"layer {i}: a dense layer has no blocks")
        rows, columns = (blocks(n, group) for n in (layer.bias.shape[0], layer.in_features))
        if layer.places is None:
            wanted = {"weight": (rows, columns)}
        else:
            kept = layer.places.columns.shape
            wanted = {
                "weight": kept if group == 1 else (*kept, group),
                "row_starts": (rows + 1,),
                "rows": kept,
                "column_starts": (columns + 1,),
                "order": kept,
            }
        for name, shape in wanted.items():
            array = layer.weight if name == "weight" else getattr(layer.places, name)
            if array.shape != shape:
                raise ValueError(f"layer {i}: {name} has shape {array.shape}, it must be {shape}")
        for array in layer.norm or ():
            if array.shape != layer.bias.shape:
                raise ValueError(
                    f"layer {i}: its norm has shape {array.shape}, it must be {layer.bias.shape}"
                )
        if layer.places is not None:
            check_indices(layer.places._asdict(), rows, columns, where=f"layer {i}: ")


def check_indices(arrays: dict[str, Array], outputs: int, inputs: int, where: str = "") -> None:
    """Raises `ValueError` for indices outside an [outputs, inputs] matrix, or grid of blocks;
    `arrays` by the names of `Places`, or some of them.

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
