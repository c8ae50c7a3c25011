"""Networks whose batch norms are being trained, as compiled calls.

The norms use the statistics of the batch itself, not the running ones. Networks are passed as two
vectors, as in `network.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from sparl.kernels import native
from sparl.kernels.forms import Connections, Form, Layer, check_layers
from sparl.kernels.network import tiles, vectors


class Moments(NamedTuple):
    """The statistics of one layer's sums over a batch."""

    mean: Float[Array, " features"]
    variance: Float[Array, " features"]


def by_batch(
    layers: Sequence[Layer], x: Float[Array, "in batch"], connections: Connections
) -> tuple[Float[Array, "out batch"], list[Moments]]:
    """The output of a network whose batch norms use the statistics of the batch.

    Differentiable (in reverse) in weights, gains, shifts and `x`. A bias has gradient 0, because
    subtracting the batch's mean cancels it. The running statistics are not read and have gradient
    0. The returned statistics of the batch have no gradient.

    Args:
        layers: In order; each must have a norm.
        x: The input.
        connections: How the layers are connected.

    Returns:
        The output, and the batch's statistics of each layer's sums.

    Raises:
        ValueError: A layer has no norm, or shapes do not belong together (while tracing).
        RuntimeError: The compiled kernels are not loaded.
    """
    form = Form.of(layers, connections)
    if not all(form.normed):
        raise ValueError(f"layer {form.normed.index(False)} has no batch norm to train")
    form.check_input(x)
    check_layers(layers)
    values, indices = vectors(layers)
    results: Any = _by_batch(form, values, indices, x)
    y, statistics = results
    starts = np.cumsum([0, *(2 * width for width in form.widths[1:])])
    of_layers = (stop_gradient(statistics[i:j]).reshape(2, -1) for i, j in pairwise(starts))
    return y, [Moments(moments[0], moments[1]) for moments in of_layers]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_batch(
    form: Form, values: jax.Array, indices: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    y, _, statistics = _call_forward(form, values, indices, x)
    return y, statistics


def _call_forward(form: Form, values: jax.Array, indices: jax.Array, x: jax.Array) -> Any:
    """Output, tape and statistics."""
    batch, features = x.shape[1], sum(form.widths[1:])
    results = [
        jax.ShapeDtypeStruct((form.outputs, batch), jnp.float32),
        tiles((), form.taped_features + features, batch),
        jax.ShapeDtypeStruct((2 * features,), jnp.float32),
    ]
    return native.call("forward_by_batch", results, x, values, indices, **form.attributes)


def _forward(form: Form, values: Any, indices: Any, x: Any) -> Any:
    """The results, and what the backward call needs."""
    of_x, (values, indices, x) = x.perturbed, (a.value for a in (values, indices, x))
    y, tape, statistics = _call_forward(form, values, indices, x)
    # An empty array: its static width says of how many inputs the backward call computes gradients.
    dx_width = jnp.zeros((0, form.widths[0] if of_x else 0))
    return (y, statistics), (values, indices, tape, statistics, dx_width)


def _backward(form: Form, saved: Any, cotangents: Any) -> Any:
    """The gradients of values, indices and x."""
    values, indices, tape, statistics, dx_width = saved
    dy, _ = cotangents
    if isinstance(dy, SymbolicZero):
        return None, None, None
    batch, inputs = dy.shape[1], dx_width.shape[1]
    dvalues, dx, _ = native.call(
        "backward_by_batch",
        [
            jax.ShapeDtypeStruct(values.shape, jnp.float32),
            jax.ShapeDtypeStruct((inputs, batch), jnp.float32),
            tiles((), form.delta_features + inputs, batch),
        ],
        *(dy, tape, statistics, values, indices),
        **form.attributes,
    )
    return dvalues, None, dx if inputs else None


_by_batch.defvjp(_forward, _backward, symbolic_zeros=True)
