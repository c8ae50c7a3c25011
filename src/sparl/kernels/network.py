"""Whole networks of layers of any kind, one compiled call for values and one for gradients.

`networks` is layers and how they are connected, several networks of one form at once. A network
travels as two vectors, its values and its indices, which are cut up in the kernels: XLA would
copy every array of every layer out of the flat vectors in which a learner keeps them, but folds
slices that are put together again into nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int32

from sparl.kernels import native, reference
from sparl.kernels.forms import Connections, Form, Layer, check


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Call:
    """What is known while tracing; the last two of a backward call alone."""

    form: Form
    of_values: bool = True
    of_x: bool = True


def network(
    layers: Sequence[Layer],
    x: Float[Array, "in batch"],
    connections: Connections | None = None,
    compiled: bool | None = None,
) -> Float[Array, "out batch"]:
    """The layers, connected so or, if nothing is said, one after the other with ReLU between them.

    As `networks`, for one of them.
    """
    return networks([layers], x, connections, compiled)[0]


def networks(
    members: Sequence[Sequence[Layer]],
    x: Float[Array, "in batch"],
    connections: Connections | None = None,
    compiled: bool | None = None,
) -> Float[Array, "members out batch"]:
    """Several networks of the same form on the same inputs.

    Differentiable (in reverse) in weights, biases and `x`, with batch norms in `x` alone.
    `compiled` chooses between the compiled kernels and plain JAX; the kernels if they can be used,
    when it is not given. Raises `ValueError` while tracing for shapes that do not belong together,
    and `NotImplementedError` for a gradient that there is not.
    """
    form = Form.of(members[0], connections)
    if any(Form.of(layers, connections) != form for layers in members):
        raise ValueError("networks that are called together must have the same form")
    form.check_input(x)
    for layers in members:
        check(layers)
    if compiled is None:
        compiled = native.usable()
    if not compiled:
        return jnp.stack([reference.network(layers, x, form.connections) for layers in members])
    values, indices = vectors([layer for layers in members for layer in layers])
    count = len(members)  # and not -1 for the length of each: there may be no indices
    values, indices = (v.reshape(count, len(v) // count) for v in (values, indices))
    return _networks(_Call(form), values, indices, x)


def vectors(layers: Sequence[Layer]) -> tuple[Float[Array, " values"], Int32[Array, " indices"]]:
    """All values, layer by layer weights and biases, then norms, and all indices, in the order of
    `Places`."""
    values, indices = ordered(layers)
    return jnp.concatenate(values), jnp.concatenate([jnp.zeros(0, jnp.int32), *indices])


def ordered(layers: Sequence[Layer]) -> tuple[list[Any], list[Any]]:
    """What `vectors` joins, flat."""
    values = [array.reshape(-1) for layer in layers for array in (layer.weight, layer.bias)]
    values += [array for layer in layers for array in layer.norm or ()]
    return values, [array for layer in layers for array in layer.places or ()]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _networks(call: _Call, values: jax.Array, indices: jax.Array, x: jax.Array) -> jax.Array:
    y = jax.ShapeDtypeStruct((len(values), call.form.outputs, x.shape[1]), jnp.float32)
    return native.call("infer", y, x[None], values, indices, **call.form.attributes)


def _forward(call: _Call, values: Any, indices: Any, x: Any) -> tuple[jax.Array, Any]:
    """`symbolic_zeros` hands over which of the arguments a gradient is wanted of."""
    if values.perturbed and any(call.form.normed):
        raise NotImplementedError("the kernels have no gradient of values behind batch norms")
    call = replace(call, of_values=values.perturbed, of_x=x.perturbed)
    values, indices, x = values.value, indices.value, x.value
    members, batch = len(values), x.shape[1]
    y = jax.ShapeDtypeStruct((members, call.form.outputs, batch), jnp.float32)
    tape = tiles((members,), call.form.taped_features, batch)
    y, tape = native.call("forward", (y, tape), x[None], values, indices, **call.form.attributes)
    return y, (call, values, indices, tape)


def _backward(_: _Call, saved: Any, dy: Any) -> tuple[jax.Array | None, None, jax.Array | None]:
    call, values, indices, tape = saved
    if isinstance(dy, SymbolicZero):
        return None, None, None
    members, widths, batch = len(values), call.form.widths, dy.shape[-1]
    dvalues = (members, values.shape[1] if call.of_values else 0)
    dx = (members, widths[0] if call.of_x else 0, batch)
    # What the gradients of the values are made from; XLA's memory, which it has anyway.
    deltas = tiles((members,), call.form.delta_features if call.of_values else 0, batch)
    dvalues, dx, _ = native.call(
        "backward",
        [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (dvalues, dx, deltas.shape)],
        *(dy, tape, values, indices),
        **call.form.attributes,
    )
    # Added up one by one: XLA's reduction over members is slow (on two threads, of [2, 503, 256],
    # 1.3 ms for 0.1).
    return dvalues if call.of_values else None, None, reduce(jnp.add, dx) if call.of_x else None


_networks.defvjp(_forward, _backward, symbolic_zeros=True)


def tiles(leading: tuple[int, ...], features: int, batch: int) -> jax.ShapeDtypeStruct:
    """A batch of so many features as the kernels cut it up (`layer.h`)."""
    lanes = native.lanes(batch)
    return jax.ShapeDtypeStruct((*leading, -(-batch // lanes), features, lanes), jnp.float32)
