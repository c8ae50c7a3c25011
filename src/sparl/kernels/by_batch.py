"""Networks whose batch norms are being trained, as compiled calls.

The norms use the statistics of the batch itself, not the running ones. Networks are passed as two
vectors, as in `network.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from sparl.kernels import native
from sparl.kernels.checks import check_layers
from sparl.kernels.forms import Connections, Form, Layer
from sparl.kernels.network import tiles, vectors


class Moments(NamedTuple):
    """The statistics of a batch that a norm has used."""

    mean: Float[Array, " features"]
    variance: Float[Array, " features"]


class Seen(NamedTuple):
    """What the norms of one network have seen."""

    sums: list[Moments | None]
    """Of each layer's sums; None where these have no norm."""
    inputs: list[Moments | None]
    """Of each layer's inputs."""


def by_batch(
    members: Sequence[Sequence[Layer]],
    x: Float[Array, "in batch"],
    connections: Connections,
    renormalise: Bool[Array, ""] | bool = False,
    samples: int | None = None,
) -> tuple[Float[Array, "members out samples"], list[Seen]]:
    """The outputs of networks of one form whose batch norms use the statistics of the batch.

    Differentiable (in reverse) in weights, biases, gains, shifts and `x`. A bias in front of a norm
    has gradient 0, because subtracting the batch's mean cancels it. Running statistics have
    gradient 0, and the returned ones of the batch have none.

    Args:
        members: The layers of each network, in order, with at least one norm.
        x: The input of all.
        connections: Of each network.
        renormalise: Whether the norms come close to what their running statistics give: batch
            renormalisation (1702.03275).
        samples: Of how many samples the outputs are wanted, the first ones; all if not given.

    Returns:
        The outputs, and what the norms of each network have seen.

    Raises:
        ValueError: There is no norm, or shapes do not belong together (while tracing).
        RuntimeError: The compiled kernels are not loaded.
    """
    form = Form.of(members[0], connections)
    if any(Form.of(layers, connections) != form for layers in members):
        raise ValueError("networks that are called together must have the same form")
    if not form.any_normed:
        raise ValueError("the network has no batch norm to train")
    form.check_input(x)
    for layers in members:
        check_layers(layers)
    flag = jnp.asarray(renormalise, jnp.float32).reshape(1, 1)
    wanted = x.shape[1] if samples is None else min(samples, x.shape[1])
    results: Any = _by_batch(form, wanted, *vectors(members), x, flag)
    y, statistics = results
    return y, [_seen(form, stop_gradient(numbers)) for numbers in statistics]


def _seen(form: Form, statistics: jax.Array) -> Seen:
    at, found = 0, []
    of_sums = zip(form.widths[1:], form.normed, strict=True)
    for width, normed in (*of_sums, *zip(form.inputs, form.input_normed, strict=True)):
        mean, variance = statistics[at : at + width], statistics[at + width : at + 2 * width]
        found.append(Moments(mean, variance) if normed else None)
        at += 2 * width if normed else 0
    return Seen(found[: len(form.normed)], found[len(form.normed) :])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _by_batch(
    form: Form, samples: int, values: jax.Array, indices: jax.Array, x: jax.Array, flag: jax.Array
) -> tuple[jax.Array, jax.Array]:
    y, _, statistics = _call_forward(form, samples, values, indices, x, flag)
    return y, statistics


def _call_forward(
    form: Form, samples: int, values: jax.Array, indices: jax.Array, x: jax.Array, flag: jax.Array
) -> Any:
    """Outputs, tapes and statistics."""
    members, batch = len(values), x.shape[1]
    results = [
        jax.ShapeDtypeStruct((members, form.outputs, samples), jnp.float32),
        tiles((members,), form.taped_features + form.normed_sums, batch),
        jax.ShapeDtypeStruct((members, 2 * (form.normed_sums + form.normed_inputs)), jnp.float32),
    ]
    operands = x[None], flag, values, indices
    return native.call("forward_by_batch", results, *operands, **form.attributes)


def _forward(form: Form, samples: int, values: Any, indices: Any, x: Any, flag: Any) -> Any:
    """The results, and what the backward call needs."""
    of_x = x.perturbed
    values, indices, x, flag = (a.value for a in (values, indices, x, flag))
    y, tape, statistics = _call_forward(form, samples, values, indices, x, flag)
    # An empty array: its static shape says of how many inputs the backward call computes gradients,
    # and of how many samples.
    empty = jnp.zeros((0, form.widths[0] if of_x else 0, x.shape[1]))
    return (y, statistics), (values, indices, flag, tape, statistics, empty)


def _backward(form: Form, _: int, saved: Any, cotangents: Any) -> Any:
    """The gradients of values, indices, x and the flag."""
    values, indices, flag, tape, statistics, empty = saved
    dy, _ = cotangents
    if isinstance(dy, SymbolicZero):
        return None, None, None, None
    members, (_, inputs, batch) = len(values), empty.shape
    deltas = form.delta_features + inputs + form.normed_inputs
    dvalues, dx, _ = native.call(
        "backward_by_batch",
        [
            jax.ShapeDtypeStruct(values.shape, jnp.float32),
            jax.ShapeDtypeStruct((members, inputs, batch), jnp.float32),
            tiles((members,), deltas, batch),
        ],
        *(dy, tape, statistics, flag, values, indices),
        **form.attributes,
    )
    # Added one by one, as in `network.py`.
    return dvalues, None, reduce(jnp.add, dx) if inputs else None, None


_by_batch.defvjp(_forward, _backward, symbolic_zeros=True)
