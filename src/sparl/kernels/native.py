"""The compiled kernels: how they are loaded, registered with XLA, and called.

Shapes are as in `sparl.kernels`. The handlers check every index. Instead of reading or writing
outside a matrix they end the computation with an INVALID_ARGUMENT error, which JAX raises as
`jax.errors.JaxRuntimeError` or, from some eager calls, as `ValueError`.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32
from numpy.typing import NDArray

from sparl.kernels.forms import ColumnOrder, Form


def _load() -> tuple[ModuleType | None, str | None]:
    """The extension, with its handlers registered; if it cannot be loaded, None and the reason."""
    if find_spec("sparl.kernels._cpu") is None:
        return None, "this installation has no sparl.kernels._cpu for this Python"
    try:
        from sparl.kernels import _cpu

        for name, handler in _cpu.handlers().items():
            jax.ffi.register_ffi_target(f"sparl_{name}", handler, platform="cpu")
    # A stale or foreign build may raise anything (a missing symbol, an XLA FFI version that this
    # jaxlib refuses), and sparl works without it.
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return _cpu, None


_extension, why_not = _load()

WAY_OUT = (
    "On Windows they are not built; in the Windows Subsystem for Linux they are"
    if sys.platform == "win32"
    else "A C++ compiler, GCC or Clang, builds them, and -v shows what goes wrong: pip install -v "
    "--force-reinstall --no-deps --no-cache-dir --no-binary sparl sparl (from a checkout: .)"
)

# Processes of multiprocessing, as environments run in them, leave it to the first one to say so.
if why_not is not None and multiprocessing.parent_process() is None:
    warnings.warn(
        f"sparl runs without its compiled kernels ({why_not}). Results differ by rounding alone, "
        "but sparse layers are expanded before they are multiplied: they save memory, and train "
        f"about as fast as dense ones. {WAY_OUT}",
        RuntimeWarning,
        stacklevel=2,
    )


def instruction_set() -> str:
    """The instruction set in use.

    "avx512", "avx2+fma", "neon" or "portable"; "none" if the extension is not loaded.
    """
    return "none" if _extension is None else _extension.instruction_set()


def expand(
    values: Float[Array, " kept"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
    in_features: int,
) -> Float[Array, "out in"]:
    """`sparl.kernels.expand` by the compiled kernel, without a gradient."""
    dense = jax.ShapeDtypeStruct((row_starts.shape[0] - 1, in_features), jnp.float32)
    return call("expand", dense, values, columns, row_starts)


def gather(
    dense: Float[Array, "out in"],
    columns: Int32[Array, " kept"],
    row_starts: Int32[Array, " starts"],
) -> Float[Array, " kept"]:
    """`sparl.kernels.gather` by the compiled kernel, without a gradient."""
    values = jax.ShapeDtypeStruct(columns.shape, jnp.float32)
    return call("gather", values, dense, columns, row_starts)


def transpose(
    columns: Int32[Array, " kept"], row_starts: Int32[Array, " starts"], in_features: int
) -> ColumnOrder:
    """The places of packed rows, column by column."""
    kept = jax.ShapeDtypeStruct(columns.shape, jnp.int32)
    starts = jax.ShapeDtypeStruct((in_features + 1,), jnp.int32)
    return ColumnOrder(*call("transpose", (kept, starts, kept), columns, row_starts))


def usable() -> bool:
    """Whether the compiled kernels are loaded and computations run on the CPU."""
    return why_not is None and jax.default_backend() == "cpu"


class Inference:
    """A network that the calling thread runs directly, without XLA, dispatch or gradients."""

    def __init__(self, form: Form) -> None:
        """A network of this form.

        Raises:
            RuntimeError: The extension is not loaded.
        """
        self._outputs = form.outputs
        self._run = _loaded().Inference(form.code).run

    def __call__(
        self, values: NDArray[np.float32], indices: NDArray[np.int32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The network's output, [outputs, batch].

        Args:
            values: The network's values, as `vectors` gives them.
            indices: The network's indices, as `vectors` gives them.
            x: The input, [inputs, batch].

        Raises:
            ValueError: An array does not fit the form.
        """
        y = np.empty((self._outputs, x.shape[1]), np.float32)
        self._run(values, indices, np.ascontiguousarray(x), y)
        return y


def lanes(batch: int) -> int:
    """The number of samples in a tile, for a batch of so many samples."""
    return _loaded().lanes(batch)


class Call(NamedTuple):
    """A part of a kernel whose tasks several threads may do together."""

    where: str
    """The C++ file that it is in, without its ending."""
    tasks: int
    by_helpers: int
    """Tasks that other threads did than the one that runs the kernel."""
    threads: int
    """Threads that it was offered to, that one among them; with one they do not meet."""
    us: float
    """Microseconds from its begin until all tasks were done."""
    waited_us: float
    """Of these, after the thread that runs the kernel had no task left."""


@contextmanager
def traced() -> Iterator[list[Call]]:
    """A context after whose end its list has all calls that kernels made in it.

    Raises:
        RuntimeError: The extension is not loaded.
    """
    calls: list[Call] = []
    _loaded().start_trace()
    try:
        yield calls
    finally:
        for where, *figures in _loaded().stop_trace():
            calls.append(Call(Path(where).stem, *figures))


def force_instruction_set(name: str) -> bool:
    """Makes the network kernels use another instruction set; for tests.

    Args:
        name: As of `instruction_set`; "" for the best one.

    Returns:
        Whether the build and the processor have it.
    """
    return _loaded().force_instruction_set(name)


def call(
    name: str,
    result: Any,
    *operands: Array,
    **attributes: Any,
) -> Any:
    """The result of a handler.

    Args:
        name: Of the handler.
        result: The `jax.ShapeDtypeStruct` of the result, or a sequence of them.
        *operands: The arrays that it takes.
        **attributes: Its static arguments.

    Raises:
        RuntimeError: The extension is not loaded.
    """
    _loaded()
    # With expand_dims, indices that all seeds share are passed once and not copied for each seed.
    compiled = jax.ffi.ffi_call(f"sparl_{name}", result, vmap_method="expand_dims")
    return compiled(*operands, **attributes)


def _loaded() -> ModuleType:
    """The extension, which must be loaded."""
    if _extension is None:
        raise RuntimeError(f"sparl's compiled kernels are not loaded ({why_not})")
    return _extension
