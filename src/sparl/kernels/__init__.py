"""Operations on matrices stored as packed rows: compiled for the CPU, and the same in plain JAX.

A matrix W [out, in] of which `kept` entries are stored is three arrays:

- `values` [kept], float32: the entries, row by row;
- `columns` [kept], int32: the column of each entry; no column occurs twice within a row;
- `row_starts` [out + 1], int32: row r is `values[row_starts[r]:row_starts[r + 1]]`. So the first
  entry is 0, the entries never decrease, and the last is `kept`.

`expand` and `gather` work under `jax.jit`, `jax.vmap` and `jax.grad`, and each is the gradient of
the other.

The compiled kernels run on the CPU. On other devices, and where the extension could not be loaded
(a `RuntimeWarning` at import says so), plain JAX runs. Both give the same bits.

Indices that break the rules above raise `ValueError`. Indices that are being traced have no values
to check yet. The compiled kernels check them when they run and raise `jax.errors.JaxRuntimeError`.
Plain JAX cannot raise then, and drops or clamps such indices.

Whole networks (`network`, `networks`) may also have layers of circulant blocks, of packed rows that
share their columns, and batch norms: see `Layer`.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sparl.kernels import native, reference
from sparl.kernels.by_batch import by_batch
from sparl.kernels.checks import check_indices
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
)
from sparl.kernels.network import network, networks, ordered, vectors

__all__ = [
    "ACTIVATIONS",
    "BATCH_EPSILON",
    "GROUPS",
    "Activation",
    "Call",
    "Connections",
    "Form",
    "Inference",
    "Layer",
    "Places",
    "affine",
    "by_batch",
    "expand",
    "expand_blocks",
    "gather",
    "instruction_set",
    "network",
    "networks",
    "of_all_rows",
    "ordered",
    "places",
    "rows_of",
    "traced",
    "usable",
    "vectors",
    "why_not_native",
]

expand_blocks = reference.expand_blocks
rows_of = reference.rows_of
of_all_rows = reference.of_all_rows
instruction_set = native.instruction_set
usable = native.usable
Inference = native.Inference
Call = native.Call
traced = native.traced


def why_not_native() -> str | None:
    """The reason why the compiled kernels could not be loaded; None if they are loaded."""
    return native.why_not


def expand(
    values: Float[Array, " kept"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
    in_features: int,
) -> Float[Array, "out in"]:
    """The dense matrix of packed rows: W[r, columns[k]] = values[k], and 0 where nothing is kept.

    Differentiable (in reverse) in `values`.

    Raises:
        TypeError: An array has another dtype than the module says (while tracing).
        ValueError: Shapes do not belong together, or indices break the rules of the module.
    """
    _check(values, columns, row_starts, in_features)
    return _expand(_best(), in_features, values, columns, row_starts)


def gather(
    dense: Float[Array, "out in"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
) -> Float[Array, " kept"]:
    """The entries of a dense matrix at the places of packed rows: values[k] = W[r, columns[k]].

    Differentiable (in reverse) in `dense`.

    Raises:
        TypeError, ValueError: As for `expand`.
    """
    _check(dense, columns, row_starts, dense.shape[1])
    return _gather(_best(), dense, columns, row_starts)


def places(
    columns: Int32[Array, " kept"], row_starts: Int32[Array, " starts"], in_features: int
) -> Places:
    """The places of packed rows, with their order by columns, which gradients of the input need.

    It is computed once for each choice of places.

    Raises:
        TypeError, ValueError: As for `expand`.
    """
    _check_indices(columns, row_starts, in_features)
    return Places(columns, row_starts, *_best().transpose(columns, row_starts, in_features))


def _best():
    """The module that runs: `native` or `reference`."""
    return native if native.usable() else reference


def _check(floats: Array, columns: Array, row_starts: Array, in_features: int) -> None:
    """Raises errors that say more than XLA's own messages."""
    if floats.dtype != jnp.float32:
        raise TypeError(f"packed rows are float32, not {floats.dtype}")
    _check_indices(columns, row_starts, in_features)
    rows = row_starts.shape[0] - 1
    if floats.ndim == 1 and floats.shape != columns.shape:
        raise ValueError(f"{floats.shape[0]} values have {columns.shape[0]} columns")
    if floats.ndim == 2 and floats.shape[0] != rows:
        raise ValueError(f"a matrix of {floats.shape[0]} rows has row_starts for {rows}")


def _check_indices(columns: Array, row_starts: Array, in_features: int) -> None:
    """Raises errors for indices that break the rules of the module."""
    if columns.dtype != jnp.int32 or row_starts.dtype != jnp.int32:
        raise TypeError(f"indices are int32, not {columns.dtype} and {row_starts.dtype}")
    if columns.ndim != 1 or row_starts.ndim != 1 or row_starts.shape[0] == 0:
        raise ValueError(
            "columns must be [kept] and row_starts [out + 1], "
            f"not {columns.shape} and {row_starts.shape}"
        )
    arrays = {"columns": columns, "row_starts": row_starts}
    check_indices(arrays, row_starts.shape[0] - 1, in_features)


# `path` is one of the modules `native` and `reference`, which have the same functions.


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _expand(path, in_features, values, columns, row_starts):
    return path.expand(values, columns, row_starts, in_features)


def _expand_forward(path, in_features, values, columns, row_starts):
    # `_expand` and not `path.expand`, so that the gradient can itself be differentiated.
    return _expand(path, in_features, values, columns, row_starts), (columns, row_starts)


def _expand_backward(path, in_features, indices, dense_cotangent):
    return _gather(path, dense_cotangent, *indices), None, None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gather(path, dense, columns, row_starts):
    return path.gather(dense, columns, row_starts)


def _gather_forward(path, dense, columns, row_starts):
    # The width must be static, so it is passed on as the shape of an empty array.
    width = jnp.zeros((0, dense.shape[1]))
    return _gather(path, dense, columns, row_starts), (width, columns, row_starts)


def _gather_backward(path, saved, values_cotangent):
    width, *indices = saved
    return _expand(path, width.shape[1], values_cotangent, *indices), None, None


_expand.defvjp(_expand_forward, _expand_backward)
_gather.defvjp(_gather_forward, _gather_backward)
