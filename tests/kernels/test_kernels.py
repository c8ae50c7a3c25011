"""The compiled kernels against the plain JAX ones, and what happens where there are none."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparl import kernels
from sparl.kernels import native, reference


def packed(counts: list[int], in_features: int, seed: int = 0):
    """Packed rows with `counts[r]` entries in row r, and the dense matrix they stand for."""
    rng = np.random.default_rng(seed)
    columns = [np.sort(rng.choice(in_features, n, replace=False)) for n in counts]
    values = rng.normal(size=sum(counts)).astype(np.float32)
    dense = np.zeros((len(counts), in_features), np.float32)
    dense[np.repeat(np.arange(len(counts)), counts), np.concatenate([[], *columns]).astype(int)] = (
        values
    )
    return (
        jnp.asarray(values),
        jnp.asarray(np.concatenate([[], *columns]), jnp.int32),
        jnp.asarray(np.cumsum([0, *counts]), jnp.int32),
        dense,
    )


@st.composite
def matrices(draw):
    in_features = draw(st.integers(1, 40))
    counts = draw(st.lists(st.integers(0, in_features), min_size=1, max_size=12))
    return (*packed(counts, in_features, draw(st.integers(0, 2**16))), in_features)


def same_bits(a, b) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_extension_is_built_and_loaded():
    assert kernels.why_not_native() is None
    assert kernels.instruction_set() in {"avx512", "avx2+fma", "neon", "portable"}


@partial(jax.jit, static_argnums=3)  # most shapes are new: one compilation for each, not four
def expanded_and_gathered(values, columns, row_starts, in_features):
    """The dense matrix by both paths, and the values gathered from it by both."""
    dense = native.expand(values, columns, row_starts, in_features)
    dense_reference = reference.expand(values, columns, row_starts, in_features)
    gathered = native.gather(dense, columns, row_starts)
    gathered_reference = reference.gather(dense, columns, row_starts)
    return dense, dense_reference, gathered, gathered_reference


@settings(max_examples=20, deadline=None)
@given(matrices())
def test_native_equals_reference_bit_for_bit(matrix):
    values, columns, row_starts, dense, in_features = matrix
    one, other, *gathered = expanded_and_gathered(values, columns, row_starts, in_features)
    assert same_bits(one, dense)
    assert same_bits(other, dense)
    assert all(same_bits(again, values) for again in gathered)


@pytest.mark.parametrize(
    "counts, in_features",
    [
        ([0, 0, 0], 5),  # nothing kept
        ([3], 7),  # one row
        ([0, 4, 0, 0, 1, 0], 4),  # empty rows, a full one
        ([0], 1),
        ([], 3),  # no rows
        ([0, 0], 0),  # no columns
    ],
)
def test_shapes_with_nothing_kept_or_no_rows(counts, in_features):
    values, columns, row_starts, dense = packed(counts, in_features)
    for expand in (native.expand, reference.expand, kernels.expand):
        assert same_bits(expand(values, columns, row_starts, in_features), dense)
    for gather in (native.gather, reference.gather, kernels.gather):
        assert same_bits(gather(jnp.asarray(dense), columns, row_starts), values)


def test_special_values_are_copied_untouched():
    values = jnp.array([-0.0, jnp.nan, jnp.inf, 1e-42], jnp.float32)
    columns, row_starts = jnp.array([1, 0, 2, 0], jnp.int32), jnp.array([0, 1, 3, 4], jnp.int32)
    dense = native.expand(values, columns, row_starts, 3)
    assert same_bits(dense, reference.expand(values, columns, row_starts, 3))
    assert same_bits(native.gather(dense, columns, row_starts), values)


def test_expand_overwrites_used_memory_with_zeros():
    """XLA hands out used memory, so every zero has to be written."""
    expand = jax.jit(native.expand, static_argnums=3)
    full, empty = packed([64] * 64, 64), packed([0] * 64, 64)
    for _ in range(5):
        assert same_bits(expand(*full[:3], 64), full[3])
        assert same_bits(expand(*empty[:3], 64), empty[3])


def test_gradient_equals_that_of_a_masked_dense_matrix():
    assert kernels.usable()
    values, columns, row_starts, dense = packed([3, 0, 5, 1], 6)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(6, 8)), jnp.float32)

    def loss(matrix):
        return jnp.sum(jnp.tanh(matrix @ x) ** 2)

    by_values = jax.grad(lambda v: loss(kernels.expand(v, columns, row_starts, 6)))
    gradient = jax.jit(by_values)(values)
    of_dense = jax.grad(loss)(jnp.asarray(dense))
    rows = np.repeat(np.arange(4), [3, 0, 5, 1])
    np.testing.assert_allclose(gradient, of_dense[rows, columns], rtol=1e-5)
    by_autodiff = jax.grad(lambda v: loss(reference.expand(v, columns, row_starts, 6)))
    np.testing.assert_allclose(gradient, by_autodiff(values), rtol=1e-5)


def test_gather_and_expand_are_each_others_gradient():
    values, columns, row_starts, dense = packed([2, 3, 0], 4)
    cotangent = jnp.arange(1.0, 6.0)
    _, pull = jax.vjp(lambda d: kernels.gather(d, columns, row_starts), jnp.asarray(dense))
    assert same_bits(pull(cotangent)[0], kernels.expand(cotangent, columns, row_starts, 4))

    def energy(v):
        return jnp.sum(kernels.expand(v, columns, row_starts, 4) ** 3)

    curvature = jax.grad(lambda v: jnp.sum(jax.grad(energy)(v)))(values)
    np.testing.assert_allclose(curvature, 6 * values, rtol=1e-5)


@pytest.mark.parametrize("expand", [kernels.expand, reference.expand])
def test_vmap_over_values_and_over_places(expand):
    a, b = packed([2, 0, 3], 5, seed=1), packed([1, 3, 1], 5, seed=2)
    values, columns, row_starts = (jnp.stack([x, y]) for x, y in zip(a[:3], b[:3], strict=True))
    wide = jax.vmap(lambda v, c, s: expand(v, c, s, 5))(values, columns, row_starts)
    assert same_bits(wide, np.stack([a[3], b[3]]))

    # Values of several seeds over shared places, twice over, and its gradient.
    grid = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)), jnp.float32)
    inner = jax.vmap(lambda v, c, s: expand(v, c, s, 5), in_axes=(0, None, None))
    double = jax.vmap(inner)(grid, columns, row_starts)
    for i, one in enumerate((a, b)):
        for j in range(3):
            assert same_bits(double[i, j], expand(grid[i, j], *one[1:3], 5))

    def loss(v, c, s):
        return jnp.sum(expand(v, c, s, 5) ** 2)

    gradient = jax.vmap(jax.grad(loss))(values, columns, row_starts)
    np.testing.assert_allclose(gradient, 2 * values, rtol=1e-5)


MALFORMED = [  # what the kernels say of them, and which array is named before they are called
    ([0, 1, 2, 3], [0, 2, 4], "row 1 has a column outside 0..2", "columns has 3"),
    ([0, -1, 2, 1], [0, 2, 4], "row 0 has a column outside 0..2", "columns has -1"),
    ([0, 2**31 - 1, 2, 1], [0, 2, 4], "row 0 has a column", "columns has 2147483647"),
    ([0, 1, 2, 1], [1, 2, 4], r"row_starts\[0\] is 1", "row_starts must"),
    ([0, 1, 2, 1], [-5, 2, 4], r"row_starts\[0\] is -5", "row_starts must"),
    ([0, 1, 2, 1], [0, 5, 4], "goes down after number 1, from 5 to 4", "row_starts must"),
    ([0, 1, 2, 1], [0, 2, 3], "ends with 3, but 4 values", "row_starts must"),
    ([0, 1, 2, 1], [0, 2, 2**31 - 1], "ends with 2147483647", "row_starts must"),
    ([0, 1, 2, 1], [0, -(2**31), 4], "goes down after number 0", "row_starts must"),
]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("columns, row_starts, message, _", MALFORMED)
def test_malformed_indices_are_refused_by_the_kernels(columns, row_starts, message, _, batched):
    columns, row_starts = jnp.array(columns, jnp.int32), jnp.array(row_starts, jnp.int32)
    expand, gather = (lambda v, c, s: native.expand(v, c, s, 3)), native.gather
    packed_in, dense_in = jnp.ones(4), jnp.ones((2, 3))
    if batched:
        expand, gather = (jax.vmap(f, in_axes=(0, None, None)) for f in (expand, gather))
        packed_in, dense_in = jnp.ones((2, 4)), jnp.ones((2, 2, 3))
    for function, floats in (expand, packed_in), (gather, dense_in):
        with pytest.raises(jax.errors.JaxRuntimeError, match=message):
            jax.block_until_ready(jax.jit(function)(floats, columns, row_starts))


@pytest.mark.parametrize("columns, row_starts, _, message", MALFORMED)
def test_malformed_indices_are_refused_before_the_kernels(columns, row_starts, _, message):
    columns, row_starts = jnp.array(columns, jnp.int32), jnp.array(row_starts, jnp.int32)
    for call in (
        lambda: kernels.expand(jnp.ones(4), columns, row_starts, 3),
        lambda: kernels.gather(jnp.ones((2, 3)), columns, row_starts),
        lambda: kernels.places(columns, row_starts, 3),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_reference_keeps_malformed_columns_out_of_other_rows():
    columns, row_starts = jnp.array([0, 3, 1, -1], jnp.int32), jnp.array([0, 2, 4], jnp.int32)
    dense = reference.expand(jnp.arange(1.0, 5.0), columns, row_starts, 3)
    assert dense.tolist() == [[1, 0, 0], [0, 3, 0]]


# In a process of its own: a package that has failed to load its extension stays so, and no types
# are checked at run time there, so that the package's own checks answer.
def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_without_the_extension_plain_jax_runs_after_one_warning():
    done = run(
        """
import sys, warnings
sys.modules["sparl.kernels._cpu"] = None  # what makes the import fail
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import jax, jax.numpy as jnp
    from sparl import kernels
    from sparl.kernels import native
    v = jnp.arange(1.0, 4.0)
    c, s = jnp.array([2, 0, 1], jnp.int32), jnp.array([0, 1, 1, 3], jnp.int32)
    for _ in range(3):
        dense = kernels.expand(v, c, s, 3)
        gradient = jax.grad(lambda v: (kernels.expand(v, c, s, 3) ** 2).sum())(v)
ours = [w for w in caught if "compiled kernels" in str(w.message)]
assert len(ours) == 1 and ours[0].category is RuntimeWarning, caught
assert "pip install" in str(ours[0].message)
assert dense.tolist() == [[0, 0, 1], [0, 0, 0], [2, 3, 0]] and gradient.tolist() == [2, 4, 6]
assert "_cpu" in kernels.why_not_native() and kernels.instruction_set() == "none"
try:
    native.expand(v, c, s, 3)
except RuntimeError as error:
    assert "_cpu" in str(error)
else:
    raise AssertionError("it ran without the extension")
"""
    )
    assert done.returncode == 0, done.stderr


def test_errors_name_wrong_types_and_shapes():
    done = run(
        """
import jax.numpy as jnp
from sparl import kernels
v, c, s = jnp.ones(2), jnp.array([0, 1], jnp.int32), jnp.array([0, 1, 2], jnp.int32)
cases = [
    (lambda: kernels.expand(v.astype(jnp.float16), c, s, 3), TypeError, "float16"),
    (lambda: kernels.expand(v, c.astype(jnp.int16), s, 3), TypeError, "int16"),
    (lambda: kernels.expand(jnp.ones(3), c, s, 3), ValueError, "3 values have 2 columns"),
    (lambda: kernels.expand(v, c, s[:0], 3), ValueError, "row_starts"),
    (lambda: kernels.gather(jnp.ones((3, 3)), c, s), ValueError, "3 rows has row_starts for 2"),
]
for call, kind, message in cases:
    try:
        call()
    except kind as error:
        assert message in str(error), error
    else:
        raise AssertionError(f"not refused: {message}")
"""
    )
    assert done.returncode == 0, done.stderr
