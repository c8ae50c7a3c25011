"""Exported ONNX, run by onnxruntime: what it computes, and what it is made of."""

import json

import numpy as np
import pytest
from policies import KINDS, observations, policy_like

import sparl
from sparl.envs import Spaces
from sparl.errors import BadValue
from sparl.exporters import onnx as exporter
from sparl.policy import Policy

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.mark.parametrize("name, discrete", [*((n, False) for n in KINDS), ("blocks", True)])
def test_onnxruntime_gives_what_the_policy_gives(name, discrete):
    policy = policy_like(name, discrete)
    tried = observations(policy.spaces.observation_size, 10_000)
    session = exporter.session(exporter.model(policy).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"observation": tried}), strict=True))
    wanted = policy.predict(tried)[0]
    if discrete:
        values = policy.outputs(tried)
        assert np.abs(found["q_value"] - values).max() < 1e-5
        clear = np.diff(np.sort(values, axis=1)[:, -2:], axis=1)[:, 0] > 1e-4
        assert np.array_equal(found["action"][clear], wanted[clear]) and clear.mean() > 0.9
        assert found["action"].dtype == np.int64
    else:
        assert np.abs(found["action"] - wanted).max() < 1e-5


def test_it_takes_and_gives_the_shapes_of_the_environment():
    flat = policy_like("one layer")
    spaces = Spaces((3, 3), (2, 2), flat.spaces.low, flat.spaces.high)
    policy = Policy(flat.network, spaces, flat.golden)
    session = exporter.session(exporter.model(policy).SerializeToString())
    tried = observations(9, 5).reshape(5, 3, 3)
    (found,) = session.run(["action"], {"observation": tried})
    assert found.shape == (5, 2, 2)
    np.testing.assert_allclose(found, policy.predict(tried)[0], atol=1e-6)


def test_it_is_of_standard_operators_and_always_the_same():
    made = exporter.model(policy_like("mixed"))
    assert {node.domain for node in made.graph.node} == {""}
    assert made.SerializeToString(deterministic=True) == exporter.model(
        policy_like("mixed")
    ).SerializeToString(deterministic=True)
    onnx.checker.check_model(made, full_check=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    agent = sparl.SAC(hidden=(16, 16), learning_starts=100)
    sparl.train("Pendulum-v1", agent, steps=200, out=folder, quiet=True, eval_episodes=1)
    return folder


def test_the_report_says_what_was_compared(run, tmp_path):
    report = sparl.export(run, "onnx", tmp_path / "onnx")
    assert json.loads((tmp_path / "onnx" / "export.json").read_text()) == report
    assert report["bytes"] == (tmp_path / "onnx" / "policy.onnx").stat().st_size
    assert report["error"]["observations"] == 1200 and report["error"]["max"] < 1e-5


def test_other_types_are_refused(run):
    with pytest.raises(BadValue, match="dtype is int8: ONNX is exported in float32"):
        sparl.export(run, "onnx", dtype="int8")


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(BadValue, match=r"the package onnx.*pip install \"sparl\[onnx\]\""):
        sparl.export(run, "onnx")
