"""Whole networks by one compiled call for the output and one for the gradients.

A network is passed as two vectors, its values and its indices, which the kernels cut up. A learner
keeps all arrays of its layers in such flat vectors. If XLA had to pass each array by itself, it
would copy it out of them; slices that are concatenated again it optimises away.
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
from sparl.kernels.checks import check_layers
from sparl.kernels.forms import Connections, Form, Layer


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Call:
    """What is known while tracing."""

    form: Form
    of_values: bool = True
    """Whether the backward call computes gradients of the values."""
    of_x: bool = True
    """Whether the backward call computes the gradient of x."""


def network(
    layers: Sequence[Layer],
    x: Float[Array, "in batch"],
    connections: Connections | None = None,
    compiled: bool | None = None,
) -> Float[Array, "out batch"]:
    """The output of one network, computed as by `networks`.

    Args:
        layers: In order.
        x: The input.
        connections: Without, the layers follow one another with ReLU between them.
        compiled: Whether the compiled kernels run, or plain JAX; without, the kernels if usable.
    """
    return networks([layers], x, connections, compiled)[0]


def networks(
    members: Sequence[Sequence[Layer]],
    x: Float[Array, "in batch"],
    connections: Connections | None = None,
    compiled: bool | None = None,
) -> Float[Array, "members out batch"]:
    """The outputs of several networks of the same form for the same input.

    Differentiable (in reverse) in weights, biases and `x`; networks with batch norms in `x` only.

    Args:
        members: The layers of each network.
        x: The input of all networks.
        connections: Of each network. Without, layers follow one another with ReLU between them.
        compiled: Whether the compiled kernels run, or plain JAX; without, the kernels if usable.

    Raises:
        ValueError: Shapes do not belong together, or places lie outside a layer (while tracing).
        NotImplementedError: A gradient of the values of a network with batch norms is asked for.
    """
    form = Form.of(members[0], connections)
    if any(Form.of(layers, connections) != form for layers in members):
        raise ValueError("networks that are called together must have the same form")
    form.check_input(x)
    for layers in members:
        check_layers(layers)
    if compiled is None:
        compiled = native.usable()
    if not compiled:
        return jnp.stack([reference.network(layers, x, form.connections) for layers in members])
    return _networks(_Call(form), *vectors(members), x)


def vectors(
    members: Sequence[Sequence[Layer]],
) -> tuple[Float[Array, "members values"], Int32[Array, "members indices"]]:
    """The values and the indices of networks of one form as two vectors for each.

    Returns:
        Weights and biases layer by layer, followed by all norms of sums and all norms of inputs;
        and indices layer by layer, in the order of `Places`.
    """
    of_members = [ordered(layers) for layers in members]
    values = jnp.concatenate([array for arrays, _ in of_members for array in arrays])
    indices = jnp.concatenate(
        [jnp.zeros(0, jnp.int32), *(array for _, arrays in of_members for array in arrays)]
    )
    # reshape(count, -1) would fail for networks without indices.
    count = len(members)
    values, indices = (v.reshape(count, len(v) // count) for v in (values, indices))
    return values, indices


def ordered(layers: Sequence[Layer]) -> tuple[list[Any], list[Any]]:
    """The flat arrays that `vectors` concatenates: those of values, and those of indices."""
    values = [array.reshape(-1) for layer in layers for array in (layer.weight, layer.bias)]
    values += [array for layer in layers for array in layer.norm or ()]
    values += [array for layer in layers for array in layer.input_norm or ()]
    return values, [array for layer in layers for array in layer.places or ()]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _networks(call: _Call, values: jax.Array, indices: jax.Array, x: jax.Array) -> jax.Array:
    y = jax.ShapeDtypeStruct((len(values), call.form.outputs, x.shape[1]), jnp.float32)
    return native.call("infer", y, x[None], values, indices, **call.form.attributes)


def _forward(call: _Call, values: Any, indices: Any, x: Any) -> tuple[jax.Array, Any]:
    """The output, and what the backward call needs for the gradients that are asked for."""
    if values.perturbed and call.form.any_normed:
        raise NotImplementedError(
            "the kernels have no gradient of the values of a network with batch norms. Use "
            "`by_batch` to train it, or compiled=False"
        )
    call = replace(call, of_values=values.perturbed, of_x=x.perturbed)
    values, indices, x = values.value, indices.value, x.value
    members, batch = len(values), x.shape[1]
    y = jax.ShapeDtypeStruct((members, call.form.outputs, batch), jnp.float32)
    tape = tiles((members,), call.form.taped_features, batch)
    y, tape = native.call("forward", (y, tape), x[None], values, indices, **call.form.attributes)
    return y, (call, values, indices, tape)


def _backward(_: _Call, saved: Any, dy: Any) -> tuple[jax.Array | None, None, jax.Array | None]:
    """The gradients of values, indices and x."""
    call, values, indices, tape = saved
    if isinstance(dy, SymbolicZero):
        return None, None, None
    members, widths, batch = len(values), call.form.widths, dy.shape[-1]
    dvalues = (members, values.shape[1] if call.of_values else 0)
    dx = (members, widths[0] if call.of_x else 0, batch)
    # Scratch from which the gradients of the values are made; XLA has the memory anyway.
    deltas = tiles((members,), call.form.delta_features if call.of_values else 0, batch)
    dvalues, dx, _ = native.call(
        "backward",
        [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (dvalues, dx, deltas.shape)],
        *(dy, tape, values, indices),
        **call.form.attributes,
    )
    # Added one by one, because XLA's reduction over members is slow: for [2, 503, 256] on two
    # threads it takes 1.3 ms instead of 0.1 ms.
    return dvalues if call.of_values else None, None, reduce(jnp.add, dx) if call.of_x else None


_networks.defvjp(_forward, _backward, symbolic_zeros=True)


def tiles(leading: tuple[int, ...], features: int, batch: int) -> jax.ShapeDtypeStruct:
    """The shape of a batch with so many features, cut into tiles of samples (`layer.h`)."""
    lanes = native.lanes(batch)
    return jax.ShapeDtypeStruct((*leading, -(-batch // lanes), features, lanes), jnp.float32)
