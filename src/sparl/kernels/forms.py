"""Networks as the kernels take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from jaxtyping import Array, Float, Int32


class Places(NamedTuple):
    """The places of the kept values of packed rows, or of packed blocks, in two orders.

    Row by row: the values k from `row_starts[r]` to `row_starts[r + 1]` are those of row r, and
    value k is in column `columns[k]`. Column by column: the entries k from `column_starts[c]` to
    `column_starts[c + 1]` are those of column c; entry k is in row `rows[k]` and is value number
    `order[k]`.
    """

    columns: Int32[Array, " kept"]
    row_starts: Int32[Array, " out_starts"]
    rows: Int32[Array, " kept"]
    column_starts: Int32[Array, " in_starts"]
    order: Int32[Array, " kept"]


class ColumnOrder(NamedTuple):
    """The places of packed rows, column by column; see `Places`."""

    rows: Int32[Array, " kept"]
    column_starts: Int32[Array, " in_starts"]
    order: Int32[Array, " kept"]


GROUPS = (2, 4, 8, 16)
"""The sizes that circulant blocks may have."""

MOST_SHARE = 16
"""The most neighbouring packed rows that may share their columns."""

BATCH_EPSILON = 1e-3
"""Added to a batch norm's variance: Keras's default, which OFENet's authors used (2003.01629)."""


class Layer(NamedTuple):
    """A layer, y = W x + b, with one of four ways of storing W.

    - Dense: `weight` is W, [out, in], and `places` is None.
    - Packed rows: `weight` is [kept], one value for each place.
    - Packed rows that share their columns, with a `share` above 1: `share` neighbouring rows are
      one row of the grid of which `places` are places; the last ones may be fewer. All rows keep
      the same number of columns, and `weight` is [out * that number], row by row.
    - Packed circulant blocks, with a `group` above 1: W is cut into blocks of `group` rows and
      columns, of which the last ones may be cut short. Kept block n is
      block[r, s] = weight[n, (s - r) mod group], and `places` are places in the grid of blocks.
    """

    weight: Float[Array, "out in"] | Float[Array, " weights"] | Float[Array, "kept group"]
    bias: Float[Array, " out"]
    places: Places | None
    group: int = 1
    inputs: int | None = None
    """The inputs of a layer of blocks, of which `places` only know the number of blocks. Without
    it, all blocks are whole."""
    norm: tuple[Array, Array, Array, Array] | None = None
    """A batch norm between sums and activation: gain, shift, mean and variance, [out] each."""
    input_norm: tuple[Array, Array, Array, Array] | None = None
    """A batch norm of the inputs, [in] each."""
    share: int = 1
    """Neighbouring packed rows that keep the same columns."""

    @property
    def in_features(self) -> int:
        """Columns of W."""
        if self.places is None:
            return self.weight.shape[1]
        if self.inputs is not None:
            return self.inputs
        return self.group * (self.places.column_starts.shape[0] - 1)


# Like any named tuple, except that `group`, `inputs` and `share` are static.
jax.tree_util.register_pytree_node(
    Layer,
    lambda layer: ((*layer[:3], *layer[5:7]), (*layer[3:5], layer.share)),
    lambda static, arrays: Layer(*arrays[:3], *static[:2], *arrays[3:], static[2]),
)


Activation = Literal["relu", "swish", "elu", "tanh"]
"""Swish is x sigmoid(x). Each maps 0 to 0, which neurons that are switched off rely on."""
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


class Connections(NamedTuple):
    """What each layer reads, and which activation follows it.

    Value 0 is the network's input, value k the output of layer k - 1.
    """

    reads: tuple[tuple[int, ...], ...]
    """For each layer, the values whose concatenation is its input."""
    activations: tuple[Activation | None, ...]
    """One for each layer."""
    gives: tuple[int, ...] = ()
    """The values whose concatenation is the network's output; empty for the last value alone."""

    @classmethod
    def chain(cls, layers: int, relu_last: bool = False) -> Connections:
        """Layers one after the other, with ReLU between them.

        Args:
            layers: How many there are.
            relu_last: Whether ReLU follows the last layer too.
        """
        last: tuple[Activation | None] = ("relu",) if relu_last else (None,)
        return cls(tuple((i,) for i in range(layers)), ("relu",) * (layers - 1) + last)


class Form(NamedTuple):
    """How a vector of values and a vector of indices make a network (`form.h`)."""

    widths: tuple[int, ...]
    """Features of every value: of the input, then of each layer's output."""
    kept: tuple[int, ...]
    """Kept places of each packed layer; -1 for a dense layer."""
    groups: tuple[int, ...]
    """The size of each layer's circulant blocks; 1 for a layer without blocks."""
    shares: tuple[int, ...]
    """How many rows of each layer share their columns; 1 where none do."""
    normed: tuple[bool, ...]
    """Whether the sums of each layer have a batch norm."""
    input_normed: tuple[bool, ...]
    """Whether the inputs of each layer have one."""
    connections: Connections
    """Here `gives` is never empty."""

    @classmethod
    def of(cls, layers: Sequence[Layer], connections: Connections | None = None) -> Form:
        """The form of connected layers.

        Args:
            layers: In order; their arrays may be stand-ins that have only a shape.
            connections: A chain without.

        Raises:
            ValueError: A layer's width is not that of what it reads.
        """
        if connections is None:
            connections = Connections.chain(len(layers))
        if not len(layers) == len(connections.reads) == len(connections.activations):
            raise ValueError(f"{len(layers)} layers cannot be connected by {connections}")
        connections = connections._replace(gives=connections.gives or (len(layers),))
        # The first layer can only read the network's input, though perhaps several times.
        inputs = layers[0].in_features // len(connections.reads[0])
        form = cls(
            widths=(inputs, *(layer.bias.shape[0] for layer in layers)),
            kept=tuple(
                -1 if layer.places is None else layer.places.columns.shape[0] for layer in layers
            ),
            groups=tuple(layer.group for layer in layers),
            shares=tuple(layer.share for layer in layers),
            normed=tuple(layer.norm is not None for layer in layers),
            input_normed=tuple(layer.input_norm is not None for layer in layers),
            connections=connections,
        )
        for i, (layer, width) in enumerate(zip(layers, form.inputs, strict=True)):
            if layer.in_features != width:
                raise ValueError(f"layer {i} takes {layer.in_features} inputs and gets {width}")
        return form

    @property
    def inputs(self) -> tuple[int, ...]:
        """The number of inputs of each layer."""
        return tuple(sum(self.widths[value] for value in read) for read in self.connections.reads)

    @property
    def outputs(self) -> int:
        """Features of the network's output."""
        return sum(self.widths[value] for value in self.connections.gives)

    @property
    def code(self) -> tuple[int, ...]:
        """The form as the compiled kernels read it: see `Form` in form.h."""
        reads, activations, gives = self.connections
        storage = zip(self.widths[1:], self.kept, self.groups, self.shares, strict=True)
        norms = zip(self.normed, self.input_normed, strict=True)
        layers = zip(storage, activations, norms, reads, strict=True)
        activation_codes = (None, *ACTIVATIONS)
        layer_codes = (
            (*stored, activation_codes.index(activation), *map(int, normed), len(read), *read)
            for stored, activation, normed, read in layers
        )
        numbers = (number for layer_code in layer_codes for number in layer_code)
        return (self.widths[0], len(gives), *gives, *numbers)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of a compiled call."""
        return {"form": np.asarray(self.code, np.int64)}

    def check_input(self, x: Float[Array, "in batch"]) -> None:
        """Raises `ValueError` for an input that does not have the network's width."""
        if x.shape[0] != self.widths[0]:
            raise ValueError(f"layer 0 takes {self.widths[0]} inputs and gets {x.shape[0]}")

    @property
    def taped_features(self) -> int:
        """Numbers that a forward call tapes for the backward call, per sample (`Taped` in form.h).

        They are the inputs of all layers, the outputs with an activation that no layer reads, the
        sigmoids of every swish, and inputs before they were normalised.
        """
        reads, activations, _ = self.connections
        read = {value for values in reads for value in values}
        layers = list(enumerate(zip(self.widths[1:], activations, strict=True), start=1))
        unread = sum(width for value, (width, a) in layers if a and value not in read)
        sigmoids = sum(width for _, (width, a) in layers if a == "swish")
        return sum(self.inputs) + unread + sigmoids + self.normed_inputs

    @property
    def any_normed(self) -> bool:
        """Whether there is any batch norm."""
        return any((*self.normed, *self.input_normed))

    @property
    def normed_sums(self) -> int:
        """Features of all sums that are normalised."""
        return sum(w for w, normed in zip(self.widths[1:], self.normed, strict=True) if normed)

    @property
    def normed_inputs(self) -> int:
        """Features of all inputs that are normalised."""
        return sum(w for w, normed in zip(self.inputs, self.input_normed, strict=True) if normed)

    @property
    def delta_features(self) -> int:
        """Numbers from which gradients of values are made, per sample (`Deltas` in form.h)."""
        count = 0
        for inputs, outputs, group in zip(self.inputs, self.widths[1:], self.groups, strict=True):
            count += group * count_blocks(outputs, group)
            if group > 1:
                count += group * count_blocks(inputs, group)
        return count


def affine(gain: Any, shift: Any, mean: Any, variance: Any) -> tuple[Any, Any]:
    """The factor and the offset, [out] each, that a batch norm with fixed statistics amounts to.

    Args:
        gain: [out], of JAX or of NumPy, like all others.
        shift: [out].
        mean: The running mean, [out].
        variance: The running variance, [out].
    """
    factor = gain * (variance + BATCH_EPSILON) ** -0.5
    return factor, shift - factor * mean


def count_blocks(features: int, group: int) -> int:
    """The number of blocks of a given size that cover so many features."""
    return -(-features // group)
