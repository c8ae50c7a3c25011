"""Exports of layers whose neighbouring rows share their columns, over patterns and shapes."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import observations, policy_of

from sparl.exporters import CompiledPolicy, CProgram, NumpyProgram, compiler, device_network
from sparl.topology import NofM, PerRow

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")
PATTERNS = st.integers(2, 16).flatmap(
    lambda m: st.builds(NofM, st.integers(1, m - 1), st.just(m), st.integers(2, 16))
) | st.builds(PerRow, st.integers(1, 20), st.integers(2, 16))
DTYPES = st.sampled_from(["float32", "float16", "int8"])


@needs_compiler
@settings(max_examples=6, deadline=None)
@given(
    PATTERNS,
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["float32", "float16", "int8"]),
)
def test_c_gives_what_the_policy_gives(pattern, inputs, outputs, dtype):
    policy = policy_of([pattern], [inputs, outputs])
    tried = observations(inputs, 200)
    program = CProgram(policy, device_network(policy, dtype, tried))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiled = CompiledPolicy(program, program.write(folder), folder / "p.so", compiler())
        found = compiled.outputs(tried)
    expected = program.network.outputs(tried)
    assert np.abs(found - expected).max() <= program.network.tolerance(expected)
    assert compiled.failed_test() == 0


def test_columns_are_stored_once_for_rows_that_share_them():
    policy = policy_of([NofM(1, 8, 4)] * 2, [64, 40, 18])
    layers = device_network(policy, "float32").layers
    # Three bits for each of the 8 kept inputs of 10 groups of rows; of 5 kept inputs and 5 groups.
    assert [la.indices["place"].size for la in layers] == [10 * 3, 5 * 2]
    content = NumpyProgram(policy).files()["policy.npz"]
    with np.load(io.BytesIO(content)) as arrays:
        assert [arrays[f"column_{i}"].size for i in (0, 1)] == [10 * 8, 5 * 5]


def test_the_header_tells_how_many_rows_share():
    policy = policy_of([NofM(1, 8, 4)], [64, 18])
    header = CProgram(policy, device_network(policy, "float32")).files()["policy.h"]
    assert "1 of every 8 inputs, the same ones in 4 neighbouring rows" in header
    policy = policy_of([PerRow(5, 4)], [64, 18])
    header = CProgram(policy, device_network(policy, "float32")).files()["policy.h"]
    assert "equally many in every row, the same ones in 4 neighbouring rows" in header


@needs_compiler
def test_a_pattern_that_keeps_everything_is_stored_dense(tmp_path):
    """The places of 1:1 take no bits, and C has no array without numbers."""
    policy = policy_of([NofM(1, 1), NofM(1, 1, 4)], [9, 8, 4])
    program = CProgram(policy, device_network(policy, "float32"))
    assert [la.loop for la in program.network.layers] == ["dense", "dense"]
    compiled = CompiledPolicy(program, program.write(tmp_path), tmp_path / "p.so", compiler())
    assert compiled.failed_test() == 0
