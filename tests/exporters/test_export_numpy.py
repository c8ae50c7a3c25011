"""Policies as a Python file that needs NumPy alone."""

from __future__ import annotations

import runpy
import subprocess
import sys

import numpy as np
import pytest
from policies import KINDS, observations, policy_in, policy_like, policy_of
from test_export_spaces import SPACES

import sparl
from sparl.errors import BadValue
from sparl.exporters import NumpyProgram
from sparl.topology import NofM


def written(program, folder, name="policy"):
    """What the file gives to whoever imports it."""
    for file, content in program.files().items():
        (folder / file).write_bytes(content)
    return runpy.run_path(str(folder / f"{name}.py"))


@pytest.mark.parametrize("name", KINDS)
def test_it_gives_what_the_policy_gives(name, tmp_path):
    policy = policy_like(name)
    module = written(NumpyProgram(policy), tmp_path)
    tried = observations(policy.spaces.observation_size, 500)
    np.testing.assert_allclose(module["outputs"](tried), policy.outputs(tried), atol=1e-5)
    actions, _ = module["predict"](tried)
    expected, _ = policy.predict(tried)
    np.testing.assert_allclose(actions, expected, atol=1e-5)
    assert module["self_test"]()


@pytest.mark.parametrize("kind", SPACES)
def test_it_takes_and_gives_what_the_environment_does(kind, tmp_path):
    """An episode, frame by frame where the policy sees several."""
    policy = policy_in(SPACES[kind])
    module = written(NumpyProgram(policy), tmp_path)
    spaces = policy.spaces
    shape = spaces.observation_shape[1:] if spaces.frames > 1 else spaces.observation_shape
    seen = observations(int(np.prod(shape)), 12).reshape(12, *shape)
    state, expected_state = None, None
    for observation in seen:
        action, state = module["predict"](observation, state)
        expected, expected_state = policy.predict(observation, expected_state)
        assert action.dtype == expected.dtype and action.shape == expected.shape
        np.testing.assert_allclose(action, expected, atol=1e-5)


def test_sparse_layers_are_stored_without_zeros():
    sparse, dense = (
        NumpyProgram(policy_of([kind] * 3, [17, 64, 64, 6])).nbytes
        for kind in (NofM(1, 8), "dense")
    )
    assert sparse < 0.35 * dense
    assert NumpyProgram(policy_like("dense"), "float16").nbytes < 0.6 * dense


def test_a_run_is_exported_with_a_self_test_that_needs_neither_jax_nor_sparl(tmp_path):
    options = {"steps": 60, "eval_episodes": 1, "quiet": True, "normalize_observations": True}
    agent = sparl.SAC(hidden=(16, 16), batch_size=8, learning_starts=40, network="simba")
    run = sparl.train("environments:Point-v0", agent, out=tmp_path / "run", **options)
    report = run.export("numpy", out=tmp_path / "out", name="hover")
    assert report["checked"] == "numpy" and report["error"]["max"] < 1e-5
    assert report["bytes"] == NumpyProgram(run.policy).nbytes
    alone = "import sys; sys.modules.update(dict.fromkeys(['jax', 'sparl']));"
    alone += "import runpy; runpy.run_path('hover.py', run_name='__main__')"
    finished = subprocess.run(
        [sys.executable, "-c", alone], cwd=tmp_path / "out", capture_output=True, text=True
    )
    assert finished.stdout == "self-test: passed\n", finished.stderr


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(BadValue, match="dtype is int8: NumPy computes in floats"):
        NumpyProgram(policy_like("dense"), "int8")
    for name in ("../up", "x; import os", "Hover", ""):
        with pytest.raises(BadValue, match="files and symbols begin with it"):
            NumpyProgram(policy_like("one layer"), name=name)
    module = written(NumpyProgram(policy_like("dense")), tmp_path)
    with pytest.raises(ValueError, match="an observation is not finite"):
        module["predict"](np.full(17, np.nan))
    for bad in (np.zeros(16), np.zeros((2, 2, 17)), np.zeros(())):
        with pytest.raises(ValueError, match=r"in place of \(17,\)"):
            module["predict"](bad)


def test_a_changed_weight_fails_the_self_test(tmp_path):
    program = NumpyProgram(policy_like("dense"))
    written(program, tmp_path)
    with np.load(tmp_path / "policy.npz") as stored:
        arrays = dict(stored)
    arrays["weight_1"] = arrays["weight_1"] * 1.1
    np.savez(tmp_path / "policy.npz", **arrays)
    finished = subprocess.run([sys.executable, tmp_path / "policy.py"], capture_output=True)
    assert finished.returncode == 1 and b"FAILED" in finished.stdout
