"""Whole networks of dense and packed layers, values and gradients, one compiled call each.

`network` is layers with ReLU between them. Its gradient takes up to three more calls (the deltas
of all layers, the gradients of weights and biases, the gradient of the inputs), of which XLA
leaves out those that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from sparl.kernels import native, reference


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


class _Static(NamedTuple):
    """What is known of a network while tracing."""

    compiled: bool
    relu_last: bool
    widths: tuple[int, ...]
    packed: tuple[bool, ...]

    def attributes(self) -> dict[str, Any]:
        return {
            "widths": np.asarray(self.widths, np.int64),
            "packed": np.asarray(self.packed, np.int64),
        }


def network(
    layers: Sequence[Layer],
    x: Float[Array, "in batch"],
    relu_last: bool = False,
    compiled: bool | None = None,
) -> Float[Array, "out batch"]:
    """The layers one after the other, with ReLU between them and, with `relu_last`, at the end.

    Differentiable (in reverse) in weights, biases and `x`. `compiled` chooses between the compiled
    kernels and plain JAX; the kernels if they can be used, when it is not given. Raises
    `ValueError` while tracing for shapes that do not belong together.
    """
    if compiled is None:
        compiled = native.usable()
    widths = (x.shape[0], *(layer.bias.shape[0] for layer in layers))
    for i, layer in enumerate(layers):
        if layer.in_features != widths[i]:
            raise ValueError(f"layer {i} takes {layer.in_features} inputs and gets {widths[i]}")
    static = _Static(
        compiled, relu_last, widths, tuple(layer.places is not None for layer in layers)
    )
    values = [(layer.weight, layer.bias) for layer in layers]
    return _network(static, values, [layer.places for layer in layers], x)


Values = list[tuple[jax.Array, jax.Array]]
PlacesOf = list[Places | None]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _network(static: _Static, values: Values, places: PlacesOf, x: jax.Array) -> jax.Array:
    if not static.compiled:
        return reference.network(values, places, x, static.relu_last)
    y = jax.ShapeDtypeStruct((static.widths[-1], x.shape[1]), jnp.float32)
    operands = _operands(values, places, bias=True, by_row=True)
    return native.call("infer", y, x, *operands, relu_last=static.relu_last, **static.attributes())


def _forward(
    static: _Static, values: Values, places: PlacesOf, x: jax.Array
) -> tuple[jax.Array, Any]:
    if not static.compiled:
        return jax.vjp(lambda v, x: reference.network(v, places, x, static.relu_last), values, x)
    batch = x.shape[1]
    y = jax.ShapeDtypeStruct((static.widths[-1], batch), jnp.float32)
    taped = static.widths if static.relu_last else static.widths[:-1]
    y, tape = native.call(
        "forward",
        (y, _tiles(sum(taped), batch)),
        x,
        *_operands(values, places, bias=True, by_row=True),
        relu_last=static.relu_last,
        **static.attributes(),
    )
    return y, (values, places, tape)


def _backward(static: _Static, saved: Any, dy: jax.Array) -> tuple[Values, None, jax.Array]:
    if not static.compiled:
        gradients, dx = saved(dy)
        return gradients, None, dx
    values, places, tape = saved
    batch = dy.shape[1]
    deltas = native.call(
        "deltas",
        _tiles(sum(static.widths[1:]), batch),
        dy,
        tape,
        *_operands(values, places, by_column=True),
        relu_last=static.relu_last,
        **static.attributes(),
    )
    shapes = [jax.ShapeDtypeStruct(array.shape, array.dtype) for pair in values for array in pair]
    gradients = native.call(
        "gradients",
        shapes,
        tape,
        deltas,
        *_operands(values, places, weight=False, by_row=True),
        batch=np.int64(batch),
        relu_last=static.relu_last,
        **static.attributes(),
    )
    dx = native.call(
        "input_gradient",
        jax.ShapeDtypeStruct((static.widths[0], batch), jnp.float32),
        deltas,
        *_operands(values[:1], places[:1], by_column=True),
        **static.attributes(),
    )
    return list(zip(gradients[::2], gradients[1::2], strict=True)), None, dx


_network.defvjp(_forward, _backward)


def _tiles(features: int, batch: int) -> jax.ShapeDtypeStruct:
    lanes = native.lanes(batch)
    return jax.ShapeDtypeStruct((-(-batch // lanes), features, lanes), jnp.float32)


def _operands(
    values: Values,
    places: PlacesOf,
    weight: bool = True,
    bias: bool = False,
    by_row: bool = False,
    by_column: bool = False,
) -> list[jax.Array]:
    """The arrays of each layer that a kernel needs, in the order in which it takes them."""
    operands = []
    for (w, b), where in zip(values, places, strict=True):
        if where is not None:
            operands += [where.columns, where.row_starts] * by_row
            operands += [where.rows, where.column_starts, where.order] * by_column
        operands += [w] * weight + [b] * bias
    return operands
