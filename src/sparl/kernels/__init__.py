"""Operations on matrices stored as packed rows: compiled for the CPU, and the same in plain JAX.

A matrix W [out, in] of which `kept` entries are stored is three arrays:

- `values` [kept], float32: the entries, row after row;
- `columns` [kept], int32: the column of each, no column twice within a row;
- `row_starts` [out + 1], int32: row r is `values[row_starts[r]:row_starts[r + 1]]`, so the first
  is 0, none is smaller than the one before, and the last is `kept`.

`expand` and `gather` work under `jax.jit`, `jax.vmap` and `jax.grad`, each being the other's
gradient. Indices that break the rules above are refused with `ValueError`; those of a computation
being traced cannot be looked at then, and are refused while it runs by the compiled kernels, with
`jax.errors.JaxRuntimeError`. These run on the CPU; elsewhere, or where the extension could not be
loaded (a `RuntimeWarning` says so once, at import), plain JAX does, which cannot raise while it
runs and drops or clamps such indices. Both give the same bits.

Whole networks (`network`, `networks`) may also have layers of circulant blocks and batch norms, see
`Layer`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl.kernels import native, reference
from sparl.kernels.by_batch import by_batch
from sparl.kernels.forms import (
    ACTIVATIONS,
    BATCH_EPSILON,
    GROUPS,
    Activation,
    Connections,
    Form,
    Layer,
    Places,
    affine,
    check_indices,
)
from sparl.kernels.network import network, networks, ordered, vectors

__all__ = [
    "ACTIVATIONS",
    "BATCH_EPSILON",
    "GROUPS",
    "Activation",
    "Connections",
    "Form",
    "Inference",
    "Layer",
    "Places",
    "affine",
    "by_batch",
    "expand",
    "expand_blocks",
    "expand_native",
    "expand_reference",
    "gather",
    "gather_native",
    "gather_reference",
    "instruction_set",
    "network",
    "networks",
    "ordered",
    "places",
    "rows_of",
    "usable",
    "vectors",
    "why_not_native",
]

expand_blocks = reference.expand_blocks
expand_reference = reference.expand
gather_reference = reference.gather
rows_of = reference.rows_of
instruction_set = native.instruction_set
usable = native.usable
Inference = native.Inference


def why_not_native() -> str | None:
    """Why the compiled kernels could not be loaded; None if they were."""
    return native.why_not


def expand(
    values: Float[Array, " kept"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
    in_features: int,
) -> Float[Array, "out in"]:
    """Packed rows to a dense matrix: W[r, columns[k]] = values[k], zero where nothing is kept.

    Differentiable (in reverse) in `values`. Raises `TypeError` for another dtype and `ValueError`
    for shapes that do not belong together, both while tracing.
    """
    _check(values, columns, row_starts, in_features)
    return _expand(_best(), in_features, values, columns, row_starts)


def gather(
    dense: Float[Array, "out in"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
) -> Float[Array, " kept"]:
    """The entries of a dense matrix at the places of packed rows: values[k] = W[r, columns[k]].

    Differentiable (in reverse) in `dense`. Errors as `expand`.
    """
    _check(dense, columns, row_starts, dense.shape[1])
    return _gather(_best(), dense, columns, row_starts)


def expand_native(
    values: Float[Array, " kept"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
    in_features: int,
) -> Float[Array, "out in"]:
    """`expand` by the compiled kernel; `RuntimeError` if that is not loaded."""
    _check(values, columns, row_starts, in_features)
    return _expand(native, in_features, values, columns, row_starts)


def gather_native(
    dense: Float[Array, "out in"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
) -> Float[Array, " kept"]:
    """`gather` by the compiled kernel; `RuntimeError` if that is not loaded."""
    _check(dense, columns, row_starts, dense.shape[1])
    return _gather(native, dense, columns, row_starts)


def places(
    columns: Int32[Array, " kept"], row_starts: Int32[Array, " starts"], in_features: int
) -> Places:
    """The places of packed rows, with the column-wise order that input gradients need.

    To be made once per choice of places. Errors as `expand`.
    """
    _check_indices(columns, row_starts, in_features)
    return Places(columns, row_starts, *_best().transpose(columns, row_starts, in_features))


def _best():
    return native if native.usable() else reference


def _check(floats: Array, columns: Array, row_starts: Array, in_features: int) -> None:
    """What XLA's own messages would not name."""
    if floats.dtype != jnp.float32:
        raise TypeError(f"packed rows are float32, not {floats.dtype}")
    _check_indices(columns, row_starts, in_features)
    rows = row_starts.shape[0] - 1
    if floats.ndim == 1 and floats.shape != columns.shape:
        raise ValueError(f"{floats.shape[0]} values have {columns.shape[0]} columns")
    if floats.ndim == 2 and floats.shape[0] != rows:
        raise ValueError(f"a matrix of {floats.shape[0]} rows has row_starts for {rows}")


def _check_indices(columns: Array, row_starts: Array, in_features: int) -> None:
    if columns.dtype != jnp.int32 or row_starts.dtype != jnp.int32:
        raise TypeError(f"indices are int32, not {columns.dtype} and {row_starts.dtype}")
    if columns.ndim != 1 or row_starts.ndim != 1 or row_starts.shape[0] == 0:
        raise ValueError(
            "columns must be [kept] and row_starts [out + 1], "
            f"not {columns.shape} and {row_starts.shape}"
        )
    arrays = {"columns": columns, "row_starts": row_starts}
    check_indices(arrays, row_starts.shape[0] - 1, in_features)


# `path` is one of the modules native and reference; both have the same two functions.


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _expand(path, in_features, values, columns, row_starts):
    return path.expand(values, columns, row_starts, in_features)


def _expand_forward(path, in_features, values, columns, row_starts):
    # By way of _expand, so that this can itself be differentiated.
    return _expand(path, in_features, values, columns, row_starts), (columns, row_starts)


def _expand_backward(path, in_features, indices, dense_cotangent):
    return _gather(path, dense_cotangent, *indices), None, None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gather(path, dense, columns, row_starts):
    return path.gather(dense, columns, row_starts)


def _gather_forward(path, dense, columns, row_starts):
    # The width is static, so it travels as the shape of an array that holds nothing.
    width = jnp.zeros((0, dense.shape[1]))
    return _gather(path, dense, columns, row_starts), (width, columns, row_starts)


def _gather_backward(path, saved, values_cotangent):
    width, *indices = saved
    return _expand(path, width.shape[1], values_cotangent, *indices), None, None


_expand.defvjp(_expand_forward, _expand_backward)
_gather.defvjp(_gather_forward, _gather_backward)
