"""Exported C on emulated processors that differ in what C leaves open, and under -ffast-math.

    python -m pytest tests/exporters/test_export_targets.py -rs

says which processors are left out, because their tools are not installed. `recipes/targets.py`
lists the packages, and tries more policies.
"""

import functools

import numpy as np
import pytest
import targets

CASES = [
    *(("mixed", dtype) for dtype in ("float32", "float16", "int8")),
    *(("discrete", dtype) for dtype in ("float32", "int8")),
    ("several", "int8"),
    ("frames", "float32"),
    ("layer norm", "float32"),
]
FAST = ["-O3", "-ffast-math"]


@functools.cache
def program_of(policy, dtype):
    return targets.program_of(targets.POLICIES[policy](), dtype)


@functools.cache
def on_this_machine(policy, dtype):
    return targets.run(program_of(policy, dtype), targets.HOST)


def assert_agrees(program, there, here):
    """It passes its self-test, refuses what it should, and gives the same within the tolerance."""
    assert there.failed_test == 0
    assert there.refused == [targets.NOT_FINITE] * 3
    assert there.overflow == here.overflow
    tolerance = program.network.tolerance(here.outputs)
    assert np.abs(there.outputs - here.outputs).max() <= tolerance
    spaces = program.policy.spaces
    if spaces.discrete:
        expected = spaces.to_env_action(there.outputs.argmax(1))
        assert np.array_equal(there.actions, expected.reshape(there.actions.shape))
    else:
        if spaces.rounds:
            assert np.array_equal(there.actions[:, :2], spaces.to_env_action(there.outputs)[:, :2])
        actions = there.actions.astype(np.float64)
        assert (actions >= spaces.low).all() and (actions <= spaces.high).all()


needs_gcc = pytest.mark.skipif(bool(targets.HOST.missing), reason="gcc is not installed")


@needs_gcc
@pytest.mark.parametrize("name", ["avr", "mips", "m32", "arm"])
def test_it_gives_the_same_on_other_processors(name):
    target = targets.TARGETS[name]
    if target.missing:
        pytest.skip(f"not installed: {', '.join(target.missing)}")
    for case in CASES:
        program, here = program_of(*case), on_this_machine(*case)
        there = targets.run(program, target)
        assert_agrees(program, there, here)
        if case == ("discrete", "int8") and name != "m32":
            assert there.outputs.tobytes() == here.outputs.tobytes()


@needs_gcc
@pytest.mark.parametrize("case", CASES)
def test_fast_math_removes_no_check(case):
    program, here = program_of(*case), on_this_machine(*case)
    assert_agrees(program, targets.run(program, targets.HOST, FAST), here)


@needs_gcc
def test_floats_that_overflow_are_refused_and_integers_do_not_overflow():
    assert on_this_machine("discrete", "float32").overflow == [targets.NOT_FINITE]
    assert on_this_machine("discrete", "int8").overflow == [0]
