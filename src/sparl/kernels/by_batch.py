"""Networks while their batch norms are trained, as compiled calls: norms go by the batch itself.

As `network.py`, whose vectors these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from sparl.kernels import native
from sparl.kernels.forms import Connections, Form, Layer, check
from sparl.kernels.network import tiles, vectors

Moments = tuple[Float[Array, " features"], Float[Array, " features"]]
"""Mean and variance."""


def by_batch(
    layers: Sequence[Layer], x: Float[Array, "in batch"], connections: Connections
) -> tuple[Float[Array, "out batch"], list[Moments]]:
    """What the network gives where every layer's sums are normalised by the batch's own mean and
    variance, and these, layer by layer; all layers have a norm.

    Differentiable (in reverse) in weights, gains, shifts and `x`. A bias has no gradient, for the
    batch's mean takes it away again; nor have running statistics, which nothing here reads, nor
    anything by the batch's. The compiled kernels must be usable. `ValueError` while tracing for
    shapes that do not belong together.
    """
    form = Form.of(layers, connections)
    if not all(form.normed):
        raise ValueError(f"layer {form.normed.index(False)} has no batch norm to train")
    form.check_input(x)
    check(layers)
    values, indices = vectors(layers)
    found: Any = _by_batch(form, values, indices, x)
    y, statistics = found
    ends = np.cumsum([0, *(2 * width for width in form.widths[1:])])
    found = (stop_gradient(statistics[i:j]).reshape(2, -1) for i, j in pairwise(ends))
    return y, [(moments[0], moments[1]) for moments in found]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_batch(
    form: Form, values: jax.Array, indices: jax.Array, x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    y, _, statistics = _called(form, values, indices, x)
    return y, statistics


def _called(form: Form, values: jax.Array, indices: jax.Array, x: jax.Array) -> Any:
    """Values, tape and statistics."""
    batch, features = x.shape[1], sum(form.widths[1:])
    results = [
        jax.ShapeDtypeStruct((form.outputs, batch), jnp.float32),
        tiles((), form.taped_features + features, batch),
        jax.ShapeDtypeStruct((2 * features,), jnp.float32),
    ]
    return native.call("forward_by_batch", results, x, values, indices, **form.attributes)


def _forward(form: Form, values: Any, indices: Any, x: Any) -> Any:
    of_x, (values, indices, x) = x.perturbed, (a.value for a in (values, indices, x))
    y, tape, statistics = _called(form, values, indices, x)
    # Whether dx is wanted travels as the shape of an array that holds nothing.
    wanted = jnp.zeros((0, form.widths[0] if of_x else 0))
    return (y, statistics), (values, indices, tape, statistics, wanted)


def _backward(form: Form, saved: Any, by_results: Any) -> Any:
    values, indices, tape, statistics, wanted = saved
    dy, _ = by_results
    if isinstance(dy, SymbolicZero):
        return None, None, None
    batch, inputs = dy.shape[1], wanted.shape[1]
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
