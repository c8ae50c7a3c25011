"""The compiled kernels: loading, registering with XLA, calling.

Shapes as in `sparl.kernels`. The handlers check every index and end the computation with an
INVALID_ARGUMENT error instead of reading or writing outside a matrix. JAX raises it as
`jax.errors.JaxRuntimeError` or, from some eager calls, as `ValueError`.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32
from numpy.typing import NDArray

from sparl.kernels.forms import Form


def _load() -> tuple[ModuleType | None, str | None]:
    """The extension with its handlers registered, or None and the reason."""
    try:
        from sparl.kernels import _cpu

        for name, handler in _cpu.handlers().items():
            jax.ffi.register_ffi_target(f"sparl_{name}", handler, platform="cpu")
    # Whatever a stale or foreign build raises (a missing symbol, an XLA FFI version this jaxlib
    # refuses), sparl can still work without it.
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return _cpu, None


_extension, why_not = _load()

if why_not is not None:
    warnings.warn(
        f"sparl's compiled kernels could not be loaded ({why_not}), so sparse layers use the "
        "slower plain JAX path. Reinstalling builds them for this Python and jaxlib, with a C++ "
        "compiler, and -v shows what goes wrong: "
        "pip install -v --force-reinstall --no-deps --no-cache-dir sparl (from a checkout: .)",
        RuntimeWarning,
        stacklevel=2,
    )


def instruction_set() -> str:
    """ "avx512", "avx2+fma", "neon" or "portable", as in use; "none" without the extension."""
    return "none" if _extension is None else _extension.instruction_set()


def expand(
    values: Float[Array, " kept"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
    in_features: int,
) -> Float[Array, "out in"]:
    """Packed rows to a dense matrix, zero where nothing is kept. Has no gradient of its own."""
    dense = jax.ShapeDtypeStruct((row_starts.shape[0] - 1, in_features), jnp.float32)
    return call("expand", dense, values, columns, row_starts)


def gather(
    dense: Float[Array, "out in"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
) -> Float[Array, " kept"]:
    """The entries of a dense matrix at the places of packed rows. Has no gradient of its own."""
    values = jax.ShapeDtypeStruct(columns.shape, jnp.float32)
    return call("gather", values, dense, columns, row_starts)


def transpose(
    columns: Int32[Array, " kept"], row_starts: Int32[Array, " starts"], in_features: int
) -> tuple[Int32[Array, " kept"], Int32[Array, " in_starts"], Int32[Array, " kept"]]:
    """Packed places column by column: rows, column_starts, order."""
    kept = jax.ShapeDtypeStruct(columns.shape, jnp.int32)
    starts = jax.ShapeDtypeStruct((in_features + 1,), jnp.int32)
    return tuple(call("transpose", (kept, starts, kept), columns, row_starts))


def usable() -> bool:
    """Whether computations run where the compiled kernels can."""
    return why_not is None and jax.default_backend() == "cpu"


class Inference:
    """One network, run directly by the calling thread: no XLA, no dispatch, no gradient."""

    def __init__(self, form: Form) -> None:
        """`RuntimeError` if the extension is not loaded."""
        self._outputs = form.outputs
        self._run = _loaded().Inference(form.code).run

    def __call__(
        self, values: NDArray[np.float32], indices: NDArray[np.int32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """[inputs, batch] to [outputs, batch]; `ValueError` for what does not fit."""
        y = np.empty((self._outputs, x.shape[1]), np.float32)
        self._run(values, indices, np.ascontiguousarray(x), y)
        return y


def lanes(batch: int) -> int:
    """Samples in a tile of a batch."""
    return _loaded().lanes(batch)


def force_instruction_set(name: str) -> bool:
    """Makes the network kernels use another instruction set; "" for the best. For tests.

    False where the build or the processor does not have it.
    """
    return _loaded().force_instruction_set(name)


def call(
    name: str,
    result: Any,
    *operands: Array,
    **attributes: Any,
) -> Any:
    """What a handler gives; `result` is its `jax.ShapeDtypeStruct`, or a sequence of them."""
    _loaded()
    # expand_dims: indices shared by a whole batch of seeds are passed once, not copied per seed.
    compiled = jax.ffi.ffi_call(f"sparl_{name}", result, vmap_method="expand_dims")
    return compiled(*operands, **attributes)


def _loaded() -> ModuleType:
    if _extension is None:
        raise RuntimeError(f"sparl's compiled kernels are not loaded ({why_not})")
    return _extension
